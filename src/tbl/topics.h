/* tbl/topics.h: what a webhook may be told of, written once. Columns: ID, the word in the configuration and in
 * x-tidegate-event, when it is told. Numbers are stored: append, never renumber. */
#pragma once

#define TOPICS(X)                                                                                  \
    X(TOPIC_TEST, "test", "somebody asked for a test of the webhook; every one takes it")          \
    X(TOPIC_WARN, "warn", "what is settled under a limit reached a percentage of its cap")         \
    X(TOPIC_SHADOW, "shadow", "a limit that is only watched would have refused a call")            \
    X(TOPIC_REFUSED, "refused", "a call was refused; the first of its kind in a minute")           \
    X(TOPIC_OVERSHOOT, "overshoot", "a call cost more than was held, and passed a cap by it")

/* Those that a configuration names, for a person. */
#define TOPICS_WANTED "warn, shadow, refused, overshoot"

#define TOPIC_ENUM(name, word, help) name,
enum topic { TOPICS(TOPIC_ENUM) TOPIC_COUNT };
#undef TOPIC_ENUM

const char *topic_word(enum topic value);
const char *topic_help(enum topic value);
