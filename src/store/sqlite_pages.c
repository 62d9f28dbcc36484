/* store/sqlite_pages.c: the end of a transaction does not search the cache for pages that cannot be there.
 *
 * When SQLite reorders the pages of a tree it lends one of them a number far behind the last (that of the
 * page at 1 GB, which no file uses). The cache remembers it as its highest, and at each commit, where pages
 * behind the end are dropped, it walks through all it holds: 6,000 pages and more, 70 us. This is SQLite's
 * own cache with one thing added: the highest number that is really in it, the lent one left out. */
#include "store/sqlite_priv.h"

#include <stdlib.h>

#define LENT_AT_BYTES 0x40000000u /* sqlite.org/fileformat2.html#the_lock_byte_page */

struct pages {
    sqlite3_pcache *cache; /* SQLite's */
    unsigned lent;         /* the number that is lent and given back */
    unsigned highest;      /* no page in it has a higher one, but perhaps the lent one */
    bool is_lent;
};

static sqlite3_pcache_methods2 theirs;

static struct pages *
pages_of(sqlite3_pcache *cache)
{
    return (struct pages *)(void *)cache;
}

static sqlite3_pcache *
pages_create(int page_bytes, int extra_bytes, int purgeable)
{
    struct pages *pages = malloc(sizeof(*pages));
    sqlite3_pcache *cache = pages ? theirs.xCreate(page_bytes, extra_bytes, purgeable) : NULL;
    if (!cache) {
        free(pages);
        return NULL;
    }
    *pages = (struct pages){ .cache = cache, .lent = LENT_AT_BYTES / (unsigned)page_bytes + 1 };
    return (sqlite3_pcache *)(void *)pages;
}

static void
pages_cachesize(sqlite3_pcache *cache, int size)
{
    theirs.xCachesize(pages_of(cache)->cache, size);
}

static int
pages_count(sqlite3_pcache *cache)
{
    return theirs.xPagecount(pages_of(cache)->cache);
}

static sqlite3_pcache_page *
pages_fetch(sqlite3_pcache *cache, unsigned number, int create)
{
    struct pages *pages = pages_of(cache);
    if (create && number > pages->highest) {
        pages->highest = number;
    }
    return theirs.xFetch(pages->cache, number, create);
}

static void
pages_unpin(sqlite3_pcache *cache, sqlite3_pcache_page *page, int discard)
{
    theirs.xUnpin(pages_of(cache)->cache, page, discard);
}

static void
pages_rekey(sqlite3_pcache *cache, sqlite3_pcache_page *page, unsigned from, unsigned to)
{
    struct pages *pages = pages_of(cache);
    if (to == pages->lent) {
        pages->is_lent = true;
    } else if (to > pages->highest) {
        pages->highest = to;
    }
    if (from == pages->lent) {
        pages->is_lent = false;
    }
    theirs.xRekey(pages->cache, page, from, to);
}

static void
pages_truncate(sqlite3_pcache *cache, unsigned limit)
{
    struct pages *pages = pages_of(cache);
    if (pages->is_lent || pages->highest >= limit) {
        theirs.xTruncate(pages->cache, limit);
        pages->highest = limit > 0 ? limit - 1 : 0;
        pages->is_lent = pages->is_lent && pages->lent < limit;
    }
}

static void
pages_destroy(sqlite3_pcache *cache)
{
    theirs.xDestroy(pages_of(cache)->cache);
    free(pages_of(cache));
}

static void
pages_shrink(sqlite3_pcache *cache)
{
    theirs.xShrink(pages_of(cache)->cache);
}

void
sqlite_pages_configure(void)
{
    sqlite3_pcache_methods2 ours;
    if (sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &theirs) != SQLITE_OK || !theirs.xTruncate) {
        return; /* SQLite is in use already */
    }
    ours = theirs;
    ours.xCreate = pages_create;
    ours.xCachesize = pages_cachesize;
    ours.xPagecount = pages_count;
    ours.xFetch = pages_fetch;
    ours.xUnpin = pages_unpin;
    ours.xRekey = pages_rekey;
    ours.xTruncate = pages_truncate;
    ours.xDestroy = pages_destroy;
    ours.xShrink = pages_shrink;
    (void)sqlite3_config(SQLITE_CONFIG_PCACHE2, &ours);
}
