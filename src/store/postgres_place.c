/* store/postgres_place.c: a URL of a database: whom it names, and what of it people may see. */
#include "store/postgres_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/secret.h"

static const char *
option_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++) {
        if (strcmp(options->keyword, keyword) == 0) {
            return options->val && options->val[0] ? options->val : NULL;
        }
    }
    return NULL;
}

/* A password with a '/' that is not escaped is taken for a port, and what follows an '@' in it for a host:
 * neither must get into a message. */
static bool
is_plausible(const char *hosts, const char *ports)
{
    const bool is_path = hosts && hosts[0] == '/'; /* a folder may be called anything */
    return (!ports || strspn(ports, "0123456789,") == strlen(ports))
           && (!hosts || is_path || !strchr(hosts, '@'));
}

static void
wipe_options(PQconninfoOption *options)
{
    for (PQconninfoOption *option = options; option && option->keyword; option++) {
        if (option->val) {
            secret_wipe(option->val, strlen(option->val));
        }
    }
    PQconninfoFree(options);
}

enum status
place_read(struct postgres_place *place, const char *url, char error_text[512])
{
    *place = (struct postgres_place){ 0 };
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    if (!options || !is_plausible(option_of(options, "host"), option_of(options, "port"))) {
        wipe_options(options);
        return store_fail(error_text, STATUS_INVALID,
            "the store's URL cannot be read; write postgresql://USER@HOST:PORT/DATABASE, and a password with "
            "@, /, :, %% or ? in it with these as %%40, %%2F, %%3A, %%25, %%3F, or better in a password file");
    }
    const char *host = option_of(options, "host");
    const char *database = option_of(options, "dbname");
    database = database ? database : option_of(options, "user");
    (void)snprintf(place->database, sizeof(place->database), "%s", database ? database : "");
    if (place->database[0]) {
        (void)snprintf(place->text, sizeof(place->text), "the database %.80s at %.90s",
            place->database, host ? host : "the local socket");
    } else {
        (void)snprintf(place->text, sizeof(place->text), "the database at %.90s",
            host ? host : "the local socket");
    }
    place->chooses_server = option_of(options, "target_session_attrs") != NULL;
    wipe_options(options);
    place->url = strdup(url);
    return place->url ? STATUS_OK : store_fail(error_text, STATUS_FULL, "no memory for a store");
}

void
place_free(struct postgres_place *place)
{
    if (place->url) {
        secret_wipe(place->url, strlen(place->url));
        free(place->url);
        place->url = NULL;
    }
}
