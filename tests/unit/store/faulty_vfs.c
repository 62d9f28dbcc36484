#include "unit.h"

#include "faulty_vfs.h"

#include <sqlite3.h>
#include <string.h>

#include "base/check.h"

struct faulty_vfs faulty_vfs;
static atomic_bool fault_hit;
static sqlite3_vfs *real_vfs;
static sqlite3_vfs own_vfs;
static sqlite3_io_methods own_methods;

struct faulty_file {
    sqlite3_file base; /* first */
    sqlite3_file *real; /* behind this struct */
};

static sqlite3_file *
real_of(sqlite3_file *file)
{
    return ((struct faulty_file *)(void *)file)->real;
}

static int
fault(void)
{
    int left = atomic_load(&faulty_vfs.fail_at);
    while (left > 0 && !atomic_compare_exchange_weak(&faulty_vfs.fail_at, &left, left - 1)) {
    }
    if (left == 1) {
        atomic_store(&fault_hit, true);
        if (atomic_load(&faulty_vfs.stays)) {
            atomic_store(&faulty_vfs.fail_at, 1);
        }
        return atomic_load(&faulty_vfs.code);
    }
    return SQLITE_OK;
}

static int
file_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
    atomic_fetch_add(&faulty_vfs.write_count, 1);
    const int code = fault();
    return code != SQLITE_OK ? code : real_of(file)->pMethods->xWrite(real_of(file), bytes, len, at);
}

static int
file_sync(sqlite3_file *file, int flags)
{
    atomic_fetch_add(&faulty_vfs.sync_count, 1);
    const int code = fault();
    return code != SQLITE_OK ? code : real_of(file)->pMethods->xSync(real_of(file), flags);
}

/* The rest goes on as it is. */
#define REAL(file) (real_of(file)->pMethods)

static int
file_close(sqlite3_file *file)
{
    return REAL(file)->xClose(real_of(file));
}

static int
file_read(sqlite3_file *file, void *out, int len, sqlite3_int64 at)
{
    return REAL(file)->xRead(real_of(file), out, len, at);
}

static int
file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return REAL(file)->xTruncate(real_of(file), size);
}

static int
file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return REAL(file)->xFileSize(real_of(file), size);
}

static int
file_lock(sqlite3_file *file, int level)
{
    return REAL(file)->xLock(real_of(file), level);
}

static int
file_unlock(sqlite3_file *file, int level)
{
    return REAL(file)->xUnlock(real_of(file), level);
}

static int
file_reserved(sqlite3_file *file, int *out)
{
    return REAL(file)->xCheckReservedLock(real_of(file), out);
}

static int
file_control(sqlite3_file *file, int what, void *argument)
{
    return REAL(file)->xFileControl(real_of(file), what, argument);
}

static int
file_sector(sqlite3_file *file)
{
    return REAL(file)->xSectorSize(real_of(file));
}

static int
file_device(sqlite3_file *file)
{
    return REAL(file)->xDeviceCharacteristics(real_of(file));
}

static int
shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
    return REAL(file)->xShmMap(real_of(file), region, size, extend, out);
}

static int
shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return REAL(file)->xShmLock(real_of(file), offset, count, flags);
}

static void
shm_barrier(sqlite3_file *file)
{
    REAL(file)->xShmBarrier(real_of(file));
}

static int
shm_unmap(sqlite3_file *file, int delete_it)
{
    return REAL(file)->xShmUnmap(real_of(file), delete_it);
}

static int
vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs;
    struct faulty_file *own = (struct faulty_file *)(void *)file;
    own->real = (sqlite3_file *)(void *)(own + 1);
    own->base.pMethods = NULL;
    const int code = real_vfs->xOpen(real_vfs, name, own->real, flags, out_flags);
    if (code == SQLITE_OK) {
        own->base.pMethods = &own_methods;
    }
    return code;
}

void
faulty_vfs_install(void)
{
    if (real_vfs) {
        return;
    }
    own_methods = (sqlite3_io_methods){
        .iVersion = 2, /* no memory map: all goes through write */
        .xClose = file_close,
        .xRead = file_read,
        .xWrite = file_write,
        .xTruncate = file_truncate,
        .xSync = file_sync,
        .xFileSize = file_size,
        .xLock = file_lock,
        .xUnlock = file_unlock,
        .xCheckReservedLock = file_reserved,
        .xFileControl = file_control,
        .xSectorSize = file_sector,
        .xDeviceCharacteristics = file_device,
        .xShmMap = shm_map,
        .xShmLock = shm_lock,
        .xShmBarrier = shm_barrier,
        .xShmUnmap = shm_unmap,
    };
    real_vfs = sqlite3_vfs_find(NULL);
    check(real_vfs);
    own_vfs = *real_vfs; /* all but opening stays the real one's, its state included */
    own_vfs.zName = "faulty";
    own_vfs.szOsFile = real_vfs->szOsFile + (int)sizeof(struct faulty_file);
    own_vfs.pNext = NULL;
    own_vfs.xOpen = vfs_open;
    check(sqlite3_vfs_register(&own_vfs, 1) == SQLITE_OK);
}

void
faulty_vfs_arm(int nth, int code, bool stays)
{
    atomic_store(&fault_hit, false);
    atomic_store(&faulty_vfs.code, code);
    atomic_store(&faulty_vfs.stays, stays);
    atomic_store(&faulty_vfs.fail_at, nth);
}

bool
faulty_vfs_disarm(void)
{
    atomic_store(&faulty_vfs.fail_at, 0);
    return atomic_load(&fault_hit);
}
