// On which store the gateways of live tests keep their books: TIDEGATE_STORE, `sqlite` unless it says `postgresql`.
// Files that have nothing to say on PostgreSQL are told in postgresql.list, tests within the others here.

export const ON_POSTGRES = process.env.TIDEGATE_STORE === 'postgresql';

/** What a test's gateway is told beside its store: what died is known soon. */
export const SHARED_STORE = { lease: '2s' };

const ALONE = {
  file: 'a store that is a file',
};

/** For `test(name, {skip}, ...)`: why a test has nothing to say on PostgreSQL; false on SQLite. */
export function sqliteAlone(reason) {
  if (!ALONE[reason]) {
    throw new Error(`no reason '${reason}' in stores.mjs`);
  }
  return ON_POSTGRES && `of SQLite alone: ${ALONE[reason]}`;
}
