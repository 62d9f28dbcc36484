// On which store the gateways of live tests keep their books: TIDEGATE_STORE, `sqlite` unless it says `postgresql`.
// Files that have nothing to say on PostgreSQL are told in postgresql.list, tests within the others here.

export const ON_POSTGRES = process.env.TIDEGATE_STORE === 'postgresql';

/** What a test's gateway is told beside its store: what died is known soon. */
export const SHARED_STORE = { lease: '2s' };

const ALONE = {
  opened: 'a command opens the books by itself where no gateway runs',
  held: 'one gateway holds the store',
  copied: 'a store that is a file is copied, cut and damaged',
};

/** For `test(name, {skip}, ...)`: why a test has nothing to say on PostgreSQL; false on SQLite. */
export function sqliteAlone(reason) {
  if (!ALONE[reason]) {
    throw new Error(`no reason '${reason}' in stores.mjs`);
  }
  return ON_POSTGRES && `of SQLite alone: ${ALONE[reason]}`;
}
