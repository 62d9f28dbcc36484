/* tests/unit/unit.h: cmocka with the headers it wants, and the words every unit test uses.
 *
 * A case's name begins with the ids of the acceptance cases it proves, if any:
 *
 *     static const struct CMUnitTest tests[] = {
 *         CASE("SL-1 no price block is unpriced", no_price_block),
 *         CASE("a hold stops at the cap", hold_stops),
 *     };
 *     UNIT_MAIN(tests)
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define CASE(case_name, function) { (case_name), (function), NULL, NULL, NULL }
#define CASE_WITH(case_name, function, setup, teardown)                                            \
    { (case_name), (function), (setup), (teardown), NULL }

#define UNIT_MAIN(tests)                                                                           \
    int main(void)                                                                                 \
    {                                                                                              \
        (void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* what passed is told before a crash */      \
        return cmocka_run_group_tests(tests, NULL, NULL);                                          \
    }
