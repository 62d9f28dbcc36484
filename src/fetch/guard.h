/* fetch/guard.h: addresses that a name from outside must not lead to. */
#pragma once

#include <sys/socket.h>

#include "base/slice.h"

/* Loopback, private, link-local, shared, reserved, multicast and documentation networks, and IPv6 addresses
 * that carry one of them. Of families other than the two: true. */
bool address_is_private(const struct sockaddr *address);
/* Its digits, for a person. */
#define ADDRESS_TEXT_BYTES 64
void address_text(const struct sockaddr *address, char out[ADDRESS_TEXT_BYTES]);
/* A host that stands for a private address by itself: one in digits, or localhost. */
bool host_is_private(const char *host);
