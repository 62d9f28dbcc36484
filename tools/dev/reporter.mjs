// Reporter for Node's test runner: one line a test for ./dev test, with tabs between
// status, suite, file, name (its parents' names first) and detail. Failures go in full to stderr.
import { relative } from 'node:path';
import { inspect } from 'node:util';

const clean = (text) => String(text).replace(/\s+/g, ' ').trim();

export default async function* reporter(events) {
  const suite = process.env.TIDEGATE_SUITE ?? 'node';
  const root = process.env.TIDEGATE_SOURCE_ROOT ?? process.cwd();
  const parents = [];

  for await (const { type, data } of events) {
    if (type === 'test:start') {
      parents.length = data.nesting;
      parents[data.nesting] = data.name;
    } else if (type === 'test:pass' || type === 'test:fail') {
      const name = clean([...parents.slice(0, data.nesting), data.name].join(' > '));
      const file = data.file ? relative(root, data.file) : '?';
      const error = data.details?.error;
      const isSuite = data.details?.type === 'suite';
      const fromChild = error?.failureType === 'subtestsFailed';
      const aborted = error?.failureType === 'cancelledByParent';
      const skipped = data.skip !== undefined && data.skip !== false;
      if (fromChild || (isSuite && type === 'test:pass' && !skipped)) {
        continue; // its cases were told one by one; those of a suite that is skipped are not
      }
      let status = type === 'test:pass' ? 'pass' : 'fail';
      let detail = '';
      if (skipped) {
        status = 'skip';
        detail = data.skip === true ? '' : clean(data.skip);
      } else if (data.todo !== undefined && data.todo !== false) {
        status = 'skip';
        detail = `to do: ${data.todo === true ? '' : clean(data.todo)}`;
      } else if (status === 'fail') {
        detail = clean(error?.cause?.message ?? error?.message ?? 'failed').slice(0, 300);
        if (!aborted || !error?.cause) {
          process.stderr.write(`--- ${name}\n${inspect(error?.cause ?? error, { depth: 6 })}\n`);
        }
      }
      yield `${[status, suite, file, name, detail].join('\t')}\n`;
    } else if (type === 'test:stderr' || type === 'test:stdout') {
      process.stderr.write(data.message);
    }
  }
}
