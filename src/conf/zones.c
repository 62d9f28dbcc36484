/* conf/zones.c: TZif files (RFC 8536) to zone tables. */
#include "conf/zones_priv.h"

#include <stdio.h>

#include "base/civil.h"
#include "conf/conf_priv.h"
#include "conf/value_priv.h"

#define ZONE_FILE_BYTES_MAX ((size_t)1 << 20)
#define TZIF_HEADER_BYTES   44
#define TRANSITIONS_MAX     20000
#define OFFSET_S_MAX        86399 /* zone tables rely on less than a day */

/* ---- bytes ---- */

static int64_t
big_endian(const char *bytes, int size)
{
    uint64_t value = (unsigned char)bytes[0] & 0x80 ? UINT64_MAX : 0;
    for (int i = 0; i < size; i++) {
        value = value << 8 | (unsigned char)bytes[i];
    }
    return (int64_t)value;
}

/* Takes `len` bytes off the front; false when there are fewer. */
static bool
take(struct slice *rest, int64_t len, struct slice *part)
{
    if (len < 0 || (uint64_t)len > rest->len) {
        return false;
    }
    *part = slice_of(rest->ptr, (size_t)len);
    *rest = slice_of(rest->ptr + len, rest->len - (size_t)len);
    return true;
}

struct tzif_counts {
    int64_t utc, standard, leap, times, types, chars;
};

static bool
take_header(struct slice *rest, char *version, struct tzif_counts *counts)
{
    struct slice head;
    if (!take(rest, TZIF_HEADER_BYTES, &head) || !slice_starts(head, SLICE("TZif"))) {
        return false;
    }
    *version = head.ptr[4];
    *counts = (struct tzif_counts){ big_endian(head.ptr + 20, 4), big_endian(head.ptr + 24, 4),
        big_endian(head.ptr + 28, 4), big_endian(head.ptr + 32, 4), big_endian(head.ptr + 36, 4),
        big_endian(head.ptr + 40, 4) };
    return counts->times >= 0 && counts->times <= TRANSITIONS_MAX && counts->types > 0
           && counts->types <= 256 && counts->chars >= 0 && counts->leap >= 0
           && counts->standard >= 0 && counts->utc >= 0;
}

static bool
skip_block(struct slice *rest, const struct tzif_counts *counts, int time_size)
{
    struct slice skipped;
    return take(rest,
        counts->times * (time_size + 1) + counts->types * 6 + counts->chars
            + counts->leap * (time_size + 4) + counts->standard + counts->utc,
        &skipped);
}

/* ---- spans ---- */

/* Appends an offset that begins at an instant; what changes nothing is left out. */
static void
span_add(struct zone *zone, int64_t from_ms, int32_t offset_s)
{
    struct zone_span *last = &zone->spans[zone->span_count - 1];
    if (last->from_ms == from_ms && zone->span_count > 1) {
        last->offset_s = offset_s;
    } else if (last->offset_s != offset_s) {
        zone->spans[zone->span_count++] = (struct zone_span){ from_ms, offset_s };
    }
}

/* The rule's changes after the table's last, year by year. */
static void
rule_extend(struct zone *zone, const struct tz_rule *rule, int64_t last_ms)
{
    int64_t after_ms = last_ms;
    if (!rule->summer) {
        return; /* the table's last offset goes on */
    }
    const int first_year = last_ms < 0 ? 1970 : civil_from_ms(last_ms).year;
    for (int year = first_year; year <= ZONE_LAST_YEAR; year++) {
        int64_t start_ms = 0;
        int64_t end_ms = 0;
        tz_rule_year(rule, year, &start_ms, &end_ms);
        const bool start_first = start_ms < end_ms;
        for (int turn = 0; turn < 2; turn++) {
            const bool start = (turn == 0) == start_first;
            const int64_t at_ms = start ? start_ms : end_ms;
            if (at_ms >= after_ms && at_ms > last_ms) {
                span_add(zone, at_ms, start ? rule->summer_s : rule->standard_s);
                after_ms = at_ms;
            }
        }
    }
}

/* The 64-bit block: transition times, their types, the types' offsets. */
static struct zone *
block_read(
    struct slice block, const struct tzif_counts *counts, struct slice footer, struct arena *arena)
{
    struct slice times;
    struct slice types;
    struct slice offsets;
    struct tz_rule rule = { 0 };
    if (!take(&block, counts->times * 8, &times) || !take(&block, counts->times, &types)
        || !take(&block, counts->types * 6, &offsets)
        || (footer.len > 0 && !tz_rule_parse(footer, &rule))) {
        return NULL;
    }
    for (int64_t i = 0; i < counts->types; i++) {
        const int64_t offset_s = big_endian(offsets.ptr + i * 6, 4);
        if (offset_s < -OFFSET_S_MAX || offset_s > OFFSET_S_MAX) {
            return NULL;
        }
    }
    if (rule.standard_s > OFFSET_S_MAX || rule.standard_s < -OFFSET_S_MAX
        || rule.summer_s > OFFSET_S_MAX || rule.summer_s < -OFFSET_S_MAX) {
        return NULL;
    }
    struct zone *zone = arena_alloc(arena, sizeof *zone);
    const size_t room = (size_t)counts->times + 1 + 2 * (ZONE_LAST_YEAR - 1969);
    struct zone_span *spans = zone ? arena_alloc(arena, room * sizeof *spans) : NULL;
    if (!spans) {
        return NULL;
    }
    zone->spans = spans;
    zone->span_count = 1;
    spans[0] = (struct zone_span){ INT64_MIN, (int32_t)big_endian(offsets.ptr, 4) };
    int64_t last_ms = -1;
    for (int64_t i = 0; i < counts->times; i++) {
        const int64_t at_s = big_endian(times.ptr + i * 8, 8);
        const int64_t type = (unsigned char)types.ptr[i];
        if (type >= counts->types || at_s > WALL_MS_MAX / SECOND_MS) {
            return NULL;
        }
        const int32_t offset_s = (int32_t)big_endian(offsets.ptr + type * 6, 4);
        if (at_s < 0) {
            spans[0].offset_s = offset_s; /* nothing of ours lies before 1970 */
        } else if (at_s * SECOND_MS <= last_ms) {
            return NULL; /* they rise */
        } else {
            last_ms = at_s * SECOND_MS;
            span_add(zone, last_ms, offset_s);
        }
    }
    if (footer.len > 0) {
        rule_extend(zone, &rule, last_ms);
    }
    return zone;
}

struct zone *
tzif_read(struct slice file, const char *name, struct arena *arena)
{
    char version = 0;
    struct tzif_counts counts;
    if (!take_header(&file, &version, &counts) || version < '2' || !skip_block(&file, &counts, 4)
        || !take_header(&file, &version, &counts)) {
        return NULL;
    }
    const struct slice block = file;
    if (!skip_block(&file, &counts, 8) || !slice_take_char(&file, '\n')) {
        return NULL;
    }
    const ptrdiff_t end = slice_find(file, SLICE("\n"));
    if (end < 0) {
        return NULL;
    }
    struct zone *zone = block_read(block, &counts, slice_of(file.ptr, (size_t)end), arena);
    if (zone) {
        zone->name = name;
    }
    return zone;
}

/* ---- by name ---- */

static bool
zone_name_valid(struct slice name)
{
    struct slice rest = name;
    struct slice part;
    bool ok = name.len > 0 && name.len <= 64 && name.ptr[name.len - 1] != '/';
    while (ok && slice_split(&rest, '/', &part)) {
        ok = value_name(part, "-_+", 64);
    }
    return ok && !slice_starts(name, SLICE("right/")) && !slice_starts(name, SLICE("posix/"));
}

static bool
zone_is_utc(struct slice name)
{
    static const char *const names[] = { "UTC", "Etc/UTC", "Z", "GMT" };
    for (size_t i = 0; i < countof(names); i++) {
        if (slice_eq(name, slice_str(names[i]))) {
            return true;
        }
    }
    return false;
}

/* Already read for this policy: as its default, or by an earlier limit. */
static const struct zone *
zone_known(const struct policy *policy, const char *name)
{
    if (policy->zone && strcmp(policy->zone->name, name) == 0) {
        return policy->zone;
    }
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct zone *zone = policy->limits[i].zone;
        if (zone && strcmp(zone->name, name) == 0) {
            return zone;
        }
    }
    return NULL;
}

const struct zone *
conf_zone(struct conf *conf, const struct node *node, const char *name)
{
    static const char *const folders[] = { "/usr/share/zoneinfo", "/usr/lib/zoneinfo",
        "/usr/share/lib/zoneinfo", "/etc/zoneinfo" };
    if (zone_is_utc(slice_str(name))) {
        return NULL;
    }
    const struct zone *known = zone_known(conf->policy, name);
    if (known) {
        return known;
    }
    char seen[64];
    const char *why = "";
    struct buf file = { .limit_bytes = ZONE_FILE_BYTES_MAX + 131072 };
    enum status status = STATUS_NOT_FOUND;
    for (size_t i = 0;
         zone_name_valid(slice_str(name)) && status == STATUS_NOT_FOUND && i < countof(folders);
         i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", folders[i], name);
        status = file_read(path, ZONE_FILE_BYTES_MAX, &file, &why);
    }
    struct zone *zone = NULL;
    if (status == STATUS_NOT_FOUND) {
        report_add(&conf->report, node,
            "there is no time zone %s on this machine (%s); write one such as Europe/Berlin, or UTC",
            node_seen(node, seen), folders[0]);
    } else if (status != STATUS_OK) {
        report_add(
            &conf->report, node, "time zone %s cannot be read: %s", node_seen(node, seen), why);
    } else {
        zone = tzif_read(buf_slice(&file), name, conf->arena);
        if (!zone) {
            report_add(&conf->report, node, "the file of time zone %s makes no sense",
                node_seen(node, seen));
        }
    }
    buf_free(&file);
    return zone;
}
