/* base/utf8.c: which bytes may follow which. */
#include "base/utf8.h"

/* What the first byte of a character demands: its length and the range of its second byte. */
struct utf8_lead {
    size_t len; /* 0: no character begins so */
    unsigned char second_min, second_max;
};

static struct utf8_lead
utf8_lead(unsigned char byte)
{
    if (byte < 0x80) {
        return (struct utf8_lead){ 1, 0, 0 };
    }
    if (byte < 0xC2 || byte > 0xF4) {
        return (struct utf8_lead){ 0, 0, 0 };
    }
    if (byte < 0xE0) {
        return (struct utf8_lead){ 2, 0x80, 0xBF };
    }
    if (byte < 0xF0) {
        return (struct utf8_lead){ 3, byte == 0xE0 ? 0xA0 : 0x80, byte == 0xED ? 0x9F : 0xBF };
    }
    return (struct utf8_lead){ 4, byte == 0xF0 ? 0x90 : 0x80, byte == 0xF4 ? 0x8F : 0xBF };
}

size_t
utf8_run(struct slice text, bool *valid)
{
    check(text.len > 0);
    const struct utf8_lead lead = utf8_lead((unsigned char)text.ptr[0]);
    size_t run = 1;
    while (run < lead.len && run < text.len) {
        const unsigned char byte = (unsigned char)text.ptr[run];
        const unsigned char min = run == 1 ? lead.second_min : 0x80;
        const unsigned char max = run == 1 ? lead.second_max : 0xBF;
        if (byte < min || byte > max) {
            break;
        }
        run++;
    }
    *valid = run == lead.len;
    return run;
}
