#!/usr/bin/env python3
"""plant.py PLANT SOURCE OUT: the source with a fault planted in it. A plant names text that must be there exactly
once, and what stands there instead; the sources themselves know nothing of it."""
import sys

plant, source, out = sys.argv[1:]
head, rest = open(plant).read().split('\n--- find\n')
find, fault = rest.rstrip('\n').split('\n--- plant\n')
text = open(source).read()
if text.count(find) != 1:
    sys.exit(f'{plant}: its text stands {text.count(find)} times in {source}, not once: adapt the plant to what '
             'the source says now')
with open(out, 'w') as file:
    file.write(text.replace(find, fault))
