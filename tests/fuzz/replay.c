/* tests/fuzz/replay.c - main of a fuzz target where there is no libFuzzer: runs it once over every
 * file of the folders named on the command line, and over nothing at all. A crash is the failure.
 * Prints the line that a check program prints, so that both are counted alike. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLAY_BYTES_MAX (4u << 20) /* as the largest record */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t bytes[REPLAY_BYTES_MAX];

static int replay_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    int count = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[4096];
        FILE *file;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        file = fopen(path, "rb");
        if (!file) {
            perror(path);
            exit(1);
        }
        fprintf(stderr, "%s\n", path); /* the last one printed is the one that crashed */
        LLVMFuzzerTestOneInput(bytes, fread(bytes, 1, sizeof bytes, file));
        fclose(file);
        count++;
    }
    if (dir)
        closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int count = 1;

    LLVMFuzzerTestOneInput(bytes, 0);
    for (int i = 1; i < argc; i++)
        count += replay_folder(argv[i]);
    printf("100%%: Checks: %d, Failures: 0, Errors: 0\n", count);
    return 0;
}
