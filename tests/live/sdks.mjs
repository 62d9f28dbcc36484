// The official SDKs, pointed at a gateway; what they would do again by themselves they do once.
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

import { SLOW } from './harness.mjs';

const once = { maxRetries: 0, timeout: 30_000 * SLOW };

export const openaiOf = (gateway, key) => new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, ...once });
export const anthropicOf = (gateway, key) => new Anthropic({ baseURL: gateway.url, apiKey: key, ...once });
