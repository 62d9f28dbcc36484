/* jobs/jobs.h: what goes on beside calls, on threads of its own.
 *
 * Webhooks: messages wait in the store (rows.h, outbox_row) and are sent by one gateway of those that share
 * it. What became of one goes to the engine as an event, which takes it from the store or says when it is
 * tried again; as long as that has not been written it is not sent anew. A message is delivered at least
 * once: a receiver knows one that came twice by its x-tidegate-delivery. */
#pragma once

#include "engine/engine.h"

struct jobs;
struct jobs_error {
    char text[512];
};

MUST_USE enum status jobs_open(struct engine *engine, struct store *store, struct jobs **jobs,
    struct jobs_error *error);
/* Before the engine and the store. NULL is allowed. */
void jobs_close(struct jobs *jobs);
