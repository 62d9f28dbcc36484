/* tbl/price_aliases.h: how the id that a provider uses for a model is taken apart to find its price.
 * Dated suffixes (-2026-04-23, -20251001) are a rule of their own, in policy/. Source: spec/wire.md,
 * section 6.
 *
 * A prefix is dropped where a model's maker or a reseller puts its own name before the maker's id.
 * A name that is not here (such as zai-org/GLM-5.2) is not guessed at: such a route says `price_as`. */
#pragma once

#define PRICE_ALIAS_PREFIXES(X)                                                                    \
    X("openrouter/")                                                                               \
    X("anthropic/")                                                                                \
    X("openai/")                                                                                   \
    X("google/")                                                                                   \
    X("gemini/")                                                                                   \
    X("deepseek/")                                                                                 \
    X("mistralai/")                                                                                \
    X("mistral/")                                                                                  \
    X("x-ai/")                                                                                     \
    X("xai/")

/* Suffixes that choose a way of serving at the same list price. `:free` is left out with intent: that
 * variant is another offer, which costs nothing today and may be withdrawn. It has a price only where
 * the book lists that very id, or a route says so; it is never priced as the paid model, nor at 0. */
#define PRICE_ALIAS_SUFFIXES(X)                                                                    \
    X(":nitro")                                                                                    \
    X(":thinking")                                                                                 \
    X("[1m]")
