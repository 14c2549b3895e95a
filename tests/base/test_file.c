// test_file.c: reading, mapping, and above all that a file or folder appears whole or not at all.
#include "support/cmocka_all.h"
#include "base/file.h"
#include "base/memory.h"
#include "support/fault.h"
#include <sys/stat.h>
#include <unistd.h>

static char path_text[512];
static const char *in(void **state, const char *name)
{
    snprintf(path_text, sizeof path_text, "%s/%s", (const char *)*state, name);
    return path_text;
}

static void assert_content(const char *path, const char *wanted)
{
    char *data;
    size_t size;
    assert_int_equal(hone_file_read(path, &data, &size), HONE_OK);
    assert_int_equal(size, strlen(wanted));
    assert_string_equal(data, wanted);
    hone_free(data);
}

static void test_written_file_reads_back_with_its_hash(void **state)
{
    const char *path = in(state, "a.bin");
    hone_writer writer;
    uint64_t hash;
    assert_int_equal(hone_writer_open(&writer, path), HONE_OK);
    assert_int_equal(hone_writer_write(&writer, "hello ", 6), HONE_OK);
    assert_false(hone_file_exists(path)); // not before it is whole
    assert_int_equal(hone_writer_write(&writer, "world", 5), HONE_OK);
    assert_int_equal(hone_writer_commit(&writer), HONE_OK);
    assert_content(path, "hello world");
    assert_int_equal(writer.written_bytes, 11);
    assert_true(writer.hash == hone_hash64("hello world", 11));
    assert_int_equal(hone_file_hash(path, &hash), HONE_OK);
    assert_true(hash == writer.hash);
    hone_map map;
    assert_int_equal(hone_map_open(&map, path), HONE_OK);
    assert_int_equal(map.size, 11);
    hone_map_drop(&map);
    assert_memory_equal(map.data, "hello world", 11); // read again from the page cache
    hone_map_close(&map);
}

static void test_empty_file_maps_to_nothing_and_reads_as_empty(void **state)
{
    const char *path = in(state, "empty");
    hone_map map;
    assert_int_equal(hone_file_write(path, NULL, 0), HONE_OK);
    assert_content(path, "");
    assert_int_equal(hone_map_open(&map, path), HONE_OK);
    assert_null(map.data);
    hone_map_close(&map);
}

// Past the page cache, through it, or changing over in the middle: the same bytes, the same hash, whatever the pieces.
static void test_direct_writes_are_the_same_bytes(void **state)
{
    enum { BYTES = (3 << 20) + 4219, BUFFER = 1 << 20 };
    uint8_t *data = hone_alloc(BYTES, 1), *buffer = hone_pages_alloc(BUFFER);
    for (int i = 0; i < BYTES; i++) data[i] = (uint8_t)((uint32_t)i * 2654435761u >> 23);
    for (int hurried_at = -1; hurried_at < 4; hurried_at++) {   // MiB behind which somebody waits; -1: never
        const char *path = in(state, "direct");
        hone_writer writer;
        atomic_bool hurry = false;
        uint64_t hash;
        size_t size;
        char *back;
        assert_int_equal(hone_writer_open_direct(&writer, path, buffer, BUFFER, &hurry), HONE_OK);
        if (!writer.direct) print_message("no direct writes on this file system\n");
        for (size_t at = 0, n = 1; at < BYTES; at += n, n = n * 3 % 400009 + 1) {
            if (hurried_at >= 0 && at > (size_t)hurried_at << 20) atomic_store(&hurry, true);
            if (n > BYTES - at) n = BYTES - at;
            assert_int_equal(hone_writer_write(&writer, data + at, n), HONE_OK);
        }
        assert_int_equal(hone_writer_commit(&writer), HONE_OK);
        assert_int_equal(writer.written_bytes, BYTES);
        assert_int_equal(hone_file_hash(path, &hash), HONE_OK);
        assert_true(hash == writer.hash && hash == hone_hash64(data, BYTES));
        assert_int_equal(hone_file_read(path, &back, &size), HONE_OK);
        assert_int_equal(size, BYTES);
        assert_memory_equal(back, data, BYTES);
        hone_free(back);
    }
    hone_pages_free(buffer, BUFFER);
    hone_free(data);
}

static void test_abort_leaves_the_old_file_and_no_temporary(void **state)
{
    const char *path = in(state, "kept");
    hone_writer writer;
    assert_int_equal(hone_file_write(path, "old", 3), HONE_OK);
    assert_int_equal(hone_writer_open(&writer, path), HONE_OK);
    assert_int_equal(hone_writer_write(&writer, "new", 3), HONE_OK);
    hone_writer_abort(&writer);
    assert_content(path, "old");
    assert_false(hone_file_exists(in(state, "kept.tmp")));
}

// Fails each disk call and each allocation in turn: the file is the old or the new one, never between, and no temporary
// stays behind.
static void test_each_failed_call_of_a_write_leaves_old_or_new(void **state)
{
    static const unsigned kinds[] = { HONE_CALL_DISK, HONE_CALL_ALLOC };
    for (int k = 0; k < 2; k++) {
        int64_t n = 1, calls;
        for (;; n++) { // until no call is left to fail
            const char *path = in(state, "target");
            assert_int_equal(hone_file_write(path, "old", 3), HONE_OK);
            hone_error_clear();
            hone_test_fail(kinds[k], n);
            hone_status status = hone_file_write(path, "newer", 5);
            calls = hone_test_fail_end();
            if (calls < n) break;
            assert_int_equal(status, HONE_FAILED);
            assert_true(*hone_error() != 0);
            char *data;
            size_t size;
            assert_int_equal(hone_file_read(path, &data, &size), HONE_OK);
            assert_true(!strcmp(data, "old") || !strcmp(data, "newer"));
            hone_free(data);
            assert_false(hone_file_exists(in(state, "target.tmp")));
        }
        assert_true(n > 4); // create, write, fsync, rename, fsync; four allocations
    }
}

static void test_failed_write_keeps_failing_until_commit(void **state)
{
    hone_writer writer;
    const char *path = in(state, "never");
    assert_int_equal(hone_writer_open(&writer, path), HONE_OK);
    hone_test_fail(HONE_CALL_WRITE, 1);
    assert_int_equal(hone_writer_write(&writer, "a", 1), HONE_FAILED);
    assert_int_equal(hone_writer_write(&writer, "b", 1), HONE_FAILED);
    hone_test_fail_end();
    assert_int_equal(hone_writer_write(&writer, "c", 1), HONE_FAILED);
    assert_int_equal(hone_writer_commit(&writer), HONE_FAILED);
    assert_false(hone_file_exists(path));
    assert_non_null(strstr(hone_error(), "never.tmp"));
}

static void test_messages_name_path_and_remedy(void **state)
{
    char *data;
    size_t size;
    hone_map map;
    assert_int_equal(hone_file_read("/nonexistent/file", &data, &size), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "/nonexistent/file"));
    assert_non_null(strstr(hone_error(), "check the path"));
    assert_int_equal(hone_file_read(*state, &data, &size), HONE_FAILED); // a folder
    assert_int_equal(hone_map_open(&map, *state), HONE_FAILED);
    assert_int_equal(hone_file_write(*state, "x", 1), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "is a folder"));
    if (geteuid() != 0) { // root may write anywhere
        const char *folder = in(state, "locked");
        assert_int_equal(mkdir(folder, 0500), 0);
        assert_int_equal(hone_file_write(in(state, "locked/x"), "x", 1), HONE_FAILED);
        assert_non_null(strstr(hone_error(), "permissions"));
    }
}

static void test_pipe_and_growing_input_are_read_to_their_end(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    char text[3000], path[64], *data;
    size_t size;
    memset(text, 'q', sizeof text);
    assert_int_equal(write(ends[1], text, sizeof text), sizeof text);
    close(ends[1]);
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    assert_int_equal(hone_file_read(path, &data, &size), HONE_OK);
    assert_int_equal(size, sizeof text);
    assert_memory_equal(data, text, size);
    hone_free(data);
    close(ends[0]);
}

static void test_append_adds_to_the_end(void **state)
{
    const char *path = in(state, "log.jsonl");
    assert_int_equal(hone_file_append(path, "a\n", 2), HONE_OK);
    assert_int_equal(hone_file_append(path, "b\n", 2), HONE_OK);
    assert_content(path, "a\nb\n");
}

static void test_folders_are_made_listed_published_and_removed(void **state)
{
    char *deep = hone_path_join(*state, "x/y/z/"), *temporary = hone_path_join(*state, "step-1.tmp");
    char *final = hone_path_join(*state, "step-1"), **names;
    int64_t count;
    assert_int_equal(hone_dir_create(deep), HONE_OK);
    assert_int_equal(hone_dir_create(deep), HONE_OK);
    assert_true(hone_dir_exists(deep));
    assert_int_equal(hone_dir_create(temporary), HONE_OK);
    static const char *const files[] = { "step-1.tmp/b", "step-1.tmp/a", "step-1.tmp/c" };
    for (int i = 0; i < 3; i++) assert_int_equal(hone_file_write(in(state, files[i]), "1", 1), HONE_OK);
    assert_int_equal(symlink(deep, in(state, "step-1.tmp/link")), 0);
    assert_int_equal(hone_dir_publish(temporary, final), HONE_OK);
    assert_false(hone_dir_exists(temporary));
    assert_int_equal(hone_dir_list(final, &names, &count), HONE_OK);
    assert_int_equal(count, 4);
    static const char *const sorted[] = { "a", "b", "c", "link" };
    for (int i = 0; i < 4; i++) {
        assert_string_equal(names[i], sorted[i]);
        hone_free(names[i]);
    }
    hone_free(names);
    assert_int_equal(hone_dir_remove(final), HONE_OK);
    assert_int_equal(hone_dir_remove(final), HONE_OK); // absent is fine
    assert_true(hone_dir_exists(deep));                // the link was not followed
    assert_int_equal(hone_file_write(in(state, "file"), "1", 1), HONE_OK);
    assert_int_equal(hone_dir_create(in(state, "file/sub")), HONE_FAILED);
    hone_free(deep);
    hone_free(temporary);
    hone_free(final);
}

static int make_folder(void **state)
{
    char name[] = "/tmp/hone-test-XXXXXX";
    if (!mkdtemp(name)) return -1;
    *state = strdup(name);
    return 0;
}

static int remove_folder(void **state)
{
    hone_status status = hone_dir_remove(*state);
    free(*state);
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_file_reads_back_with_its_hash),
        cmocka_unit_test(test_empty_file_maps_to_nothing_and_reads_as_empty),
        cmocka_unit_test(test_direct_writes_are_the_same_bytes),
        cmocka_unit_test(test_abort_leaves_the_old_file_and_no_temporary),
        cmocka_unit_test(test_each_failed_call_of_a_write_leaves_old_or_new),
        cmocka_unit_test(test_failed_write_keeps_failing_until_commit),
        cmocka_unit_test(test_messages_name_path_and_remedy),
        cmocka_unit_test(test_pipe_and_growing_input_are_read_to_their_end),
        cmocka_unit_test(test_append_adds_to_the_end),
        cmocka_unit_test(test_folders_are_made_listed_published_and_removed),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
