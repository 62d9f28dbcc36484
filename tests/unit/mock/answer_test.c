/* tests/unit/mock/answer_test.c
 *
 * Goal: an answer has the tokens its words ask for, stops at the request's limit, and its text
 * comes out the same however it is cut. Method: tables of words and limits. */
#include "unit.h"

#include "base/utf8.h"
#include "mock/answer_priv.h"

struct planned {
    struct arena arena;
    struct mock_behaviour behaviour;
    struct mock_ask ask;
    struct mock_answer answer;
};

static void
plan(struct planned *planned, const char *words, int64_t limit)
{
    struct mock_behaviour_fault fault;
    *planned = (struct planned){ .behaviour = mock_behaviour_default() };
    planned->ask = (struct mock_ask){ .api = API_CHAT,
        .model = SLICE("m"),
        .output_limit = limit,
        .body_bytes = 401,
        .last_user = SLICE("naïve 🌊 question"),
        .tool_name = SLICE("look") };
    assert_true(mock_behaviour_read(&planned->behaviour, slice_str(words), &fault));
    assert_true(mock_answer_plan(
        &planned->answer, &planned->behaviour, &planned->ask, 10, &planned->arena));
}

static void
unplan(struct planned *planned)
{
    mock_answer_free(&planned->answer);
    arena_free(&planned->arena);
}

static void
answers_have_the_tokens_asked_for(void **state)
{
    static const struct {
        const char *words;
        int64_t limit;
        int64_t hidden, thinking, shown;
        enum mock_end end;
    } rows[] = {
        { "", MOCK_NO_LIMIT, 0, 0, 20, MOCK_END_STOP },
        { "tokens=0", MOCK_NO_LIMIT, 0, 0, 0, MOCK_END_STOP },
        { "tokens=50", 50, 0, 0, 50, MOCK_END_STOP }, /* just fits */
        { "tokens=50", 49, 0, 0, 49, MOCK_END_LENGTH },
        { "tokens=50,hidden_reasoning=9", 40, 9, 0, 31, MOCK_END_LENGTH },
        { "tokens=50,hidden_reasoning=90", 40, 40, 0, 0, MOCK_END_LENGTH },
        { "tokens=5,thinking=9", MOCK_NO_LIMIT, 0, 9, 14, MOCK_END_STOP },
        { "tokens=5,thinking=9", 6, 0, 6, 6, MOCK_END_LENGTH },
        { "tokens=5,thinking=9,hidden_reasoning=2", 13, 2, 9, 11, MOCK_END_LENGTH },
        { "tokens=9,tool=1", MOCK_NO_LIMIT, 0, 0, 9, MOCK_END_TOOL },
        { "tokens=9,tool=1", 8, 0, 0, 8, MOCK_END_LENGTH },
        { "tokens=0,tool=1", MOCK_NO_LIMIT, 0, 0, 1, MOCK_END_TOOL }, /* a call has arguments */
        { "text=hello", MOCK_NO_LIMIT, 0, 0, 2, MOCK_END_STOP },      /* 5 bytes at 4 a token */
        { "text=hello,tokens=3", MOCK_NO_LIMIT, 0, 0, 3, MOCK_END_STOP },
        { "text=", MOCK_NO_LIMIT, 0, 0, 0, MOCK_END_STOP },
        { "echo=1", MOCK_NO_LIMIT, 0, 0, 5, MOCK_END_STOP }, /* 20 bytes */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct planned planned;
        plan(&planned, rows[i].words, rows[i].limit);
        assert_int_equal(planned.answer.hidden_count, rows[i].hidden);
        assert_int_equal(planned.answer.thinking_count, rows[i].thinking);
        assert_int_equal(planned.answer.token_count, rows[i].shown);
        assert_int_equal(planned.answer.end, rows[i].end);
        unplan(&planned);
    }
}

static void
bills_follow_what_is_told(void **state)
{
    struct planned planned;
    plan(&planned,
        "tokens=5,thinking=3,hidden_reasoning=7,cached=20,cache_write=4,cache_write_1h=2",
        MOCK_NO_LIMIT);
    /* 401 bytes are 101 tokens, and 10 of context. */
    const struct mock_bill first = mock_answer_bill(&planned.answer, 0);
    assert_int_equal(first.input, 111 - 26);
    assert_int_equal(first.cache_read, 20);
    assert_int_equal(first.cache_write_5m, 4);
    assert_int_equal(first.cache_write_1h, 2);
    assert_int_equal(first.output, 7);
    assert_int_equal(first.reasoning, 7);
    const struct mock_bill middle = mock_answer_bill(&planned.answer, 2);
    assert_int_equal(middle.output, 9);
    assert_int_equal(middle.reasoning, 9);
    const struct mock_bill whole = mock_answer_bill(&planned.answer, 8);
    assert_int_equal(whole.output, 15);
    assert_int_equal(whole.reasoning, 10);
    assert_int_equal(whole.generated, 15);
    unplan(&planned);
}

static void
input_is_what_the_words_say(void **state)
{
    static const struct {
        const char *words;
        int64_t input, cache_read;
    } rows[] = {
        { "input=1000", 1000, 0 }, { "input=1000,cached=400", 600, 400 }, { "input=0", 0, 0 },
        { "input=5,cached=400", 0, 400 }, /* what is cached is input, too */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct planned planned;
        plan(&planned, rows[i].words, MOCK_NO_LIMIT);
        assert_int_equal(planned.answer.input.input, rows[i].input);
        assert_int_equal(planned.answer.input.cache_read, rows[i].cache_read);
        unplan(&planned);
    }
}

/* Adds tokens [from, to) in steps of `step`; every step alone must be whole characters. */
static void
add_in_steps(
    const struct mock_answer *answer, int64_t from, int64_t to, int64_t step, struct buf *out)
{
    struct buf piece = { 0 };
    for (int64_t at = from; at < to; at += step) {
        buf_clear(&piece);
        mock_answer_text(answer, at, min_i64(at + step, to), &piece);
        for (size_t i = 0; i < piece.len;) {
            bool valid = false;
            i += utf8_run(slice_of(piece.ptr + i, piece.len - i), &valid);
            assert_true(valid);
        }
        buf_add_slice(out, buf_slice(&piece));
    }
    buf_free(&piece);
}

static void
text_is_the_same_however_it_is_cut(void **state)
{
    static const char *const words[] = { "tokens=97", "tokens=97,utf8=1", "tokens=97,bpt=1,utf8=1",
        "tokens=40,tool=1", "tokens=3,tool=1", "text=gr%C3%BC%C3%9Fe%20%F0%9F%8C%8A,tokens=9",
        "text=%F0%9F%8C%8A,bpt=1", "echo=1,bpt=3", "tokens=30,bpt=7" };
    for (size_t i = 0; i < countof(words); i++) {
        struct planned planned;
        plan(&planned, words[i], MOCK_NO_LIMIT);
        const int64_t count = planned.answer.token_count;
        struct buf whole = { 0 };
        mock_answer_text(&planned.answer, 0, count, &whole);
        assert_true(whole.len > 0);
        for (int64_t step = 1; step < 12; step++) {
            struct buf stepped = { 0 };
            add_in_steps(&planned.answer, 0, count, step, &stepped);
            assert_true(slice_eq(buf_slice(&whole), buf_slice(&stepped)));
            buf_free(&stepped);
        }
        buf_free(&whole);
        unplan(&planned);
    }
}

static void
texts_have_their_length(void **state)
{
    static const struct {
        const char *words;
        const char *text; /* NULL: by length alone */
        size_t bytes;
    } rows[] = {
        { "tokens=5", "The tide comes in an", 20 },
        { "tokens=100000,bpt=8", NULL, 800000 },
        { "text=hello%2C%20world", "hello, world", 12 },
        { "tokens=1,tool=1", "{\"note\":\"\"}", 11 },
        { "tokens=5,tool=1", "{\"note\":\"The tide \"}", 20 },
        { "tool=1,text=x,args=%7B%7D", "{}", 2 },
        { "tool=0,text=x,args=%7B%7D", "x", 1 },
        { "echo=1", "naïve 🌊 question", 20 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct planned planned;
        struct buf out = { 0 };
        plan(&planned, rows[i].words, MOCK_NO_LIMIT);
        mock_answer_text(&planned.answer, 0, planned.answer.token_count, &out);
        assert_int_equal(out.len, rows[i].bytes);
        if (rows[i].text) {
            assert_true(slice_eq(buf_slice(&out), slice_str(rows[i].text)));
        }
        buf_free(&out);
        unplan(&planned);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("answers have the tokens asked for", answers_have_the_tokens_asked_for),
    CASE("bills follow what is told", bills_follow_what_is_told),
    CASE("input is what the words say", input_is_what_the_words_say),
    CASE("text is the same however it is cut", text_is_the_same_however_it_is_cut),
    CASE("texts have their length", texts_have_their_length),
};

UNIT_MAIN(tests)
