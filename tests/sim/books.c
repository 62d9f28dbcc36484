/* tests/sim/books.c: what the product's own audit says of a world's store, on its way and at its end; the memory store
 * has none. */
#include <stdio.h>
#include <string.h>

#include "server.h"
#include "sim.h"
#include "store/audit.h"

/* What no store of the product's has: epochs that the simulator gave, a key that clients made up. */
static bool
is_simulated(const struct world *world, const struct audit_finding *finding)
{
    char key[32];
    snprintf(key, sizeof key, " of key %d,", SIM_NO_KEY);
    return (world->kind->server && finding->part == AUDIT_IDS)
           || (finding->part == AUDIT_REFERENCES && strstr(finding->what, key) != NULL);
}

void
world_books(struct world *world)
{
    struct audit books;
    struct store_error error;
    char url[512];
    snprintf(url, sizeof url, world->kind->server ? "%s" : "sqlite:%s/t.db",
        world->kind->server ? world->server_url : world->folder);
    if (!world->kind->server && !world->folder[0]) {
        return;
    }
    if (world->kind->server) {
        check(server_tell_time(world->high_water_ms));
    }
    if (store_audit(url, NULL, NULL, &books, &error) != STATUS_OK) {
        broken(world, "the store's audit says nothing: %s", error.text);
    }
    for (int32_t i = 0; i < books.finding_count; i++) {
        const struct audit_finding *finding = &books.findings[i];
        if (is_simulated(world, finding)) {
            continue;
        }
        broken(world, "the store's audit, %s: %s (stored %lld, expected %lld)", audit_part_word(finding->part), finding->what,
            (long long)finding->stored, (long long)finding->expected);
    }
    store_audit_free(&books);
    coverage.books++;
}
