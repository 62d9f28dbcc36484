#!/bin/sh
# promote.sh PRIMARY: run as the user postgres on the standby, once the primary at that address is gone for good
# or switched off. From then on this server takes writes, and commits alone until it is given a standby.
set -eu
primary=$1

# Two primaries would be two books: one that answers, be it that it just starts, is not replaced.
answer=0
pg_isready --quiet --host="$primary" --port=5432 --timeout=3 || answer=$?
if [ "$answer" != 2 ]; then
    echo "promote.sh: the server at $primary still answers; switch it off first" >&2
    exit 1
fi
psql -X -q -t -A -v ON_ERROR_STOP=1 -d postgres <<'SQL'
ALTER SYSTEM SET synchronous_standby_names = '';
SELECT pg_reload_conf() \g /dev/null
SELECT pg_promote(true, 60) AS promoted \gset
\if :promoted
  \echo promoted: it takes writes, and waits for no standby
\else
  ALTER SYSTEM RESET synchronous_standby_names;
  SELECT pg_reload_conf() \g /dev/null
  DO $$ BEGIN RAISE 'not promoted within 60 s: see the log of the server'; END $$;
\endif
SQL
