// libFuzzer's entry points. The target is named by FUZZ_TARGET: one program, since linking takes longer than fuzzing one.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void conduit_fuzz(int32_t target, const uint8_t *bytes, intptr_t count);
int32_t conduit_fuzz_target(const char *name);

static int32_t target = -1;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    target = conduit_fuzz_target(getenv("FUZZ_TARGET"));
    if (target < 0) {
        fprintf(stderr, "FUZZ_TARGET must be one of frames, json, http, bus, resp, proxy, inflate\n");
        exit(2);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    conduit_fuzz(target, bytes, (intptr_t)count);
    return 0;
}
