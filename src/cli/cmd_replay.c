// cmd_replay.c: hone replay: one step of a run again, node by node.
#include "cli/args.h"
#include "cli/verbs.h"
#include "train/replay.h"
#include <stdlib.h>

hone_status hone_cmd_replay(int argc, char **argv)
{
    bool done;
    char *end;
    const hone_cli_option options[] = { { 0 } };
    const hone_cli_command command = { "replay", "RUN STEP [key=value ...]",
        "Does one step of a run again and looks at the result of every node: the first value that is not finite, with\n"
        "node, tensor and place; loss, gradient norm, the largest values. RUN is the output_dir; nothing in it changes.\n"
        "Begins at replay-STEP, which a bad step leaves there, else at the newest checkpoint before the step. key=value\n"
        "changes a key of the run's recipe.",
        "hone replay run 1234", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc < 2) return hone_fail_usage("replay: which step of which run? hone replay RUN STEP");
    long long step = strtoll(argv[1], &end, 10);
    if (*end || end == argv[1] || step < 1) return hone_fail_usage("replay: %s: the step must be a whole number from 1", argv[1]);
    return hone_replay(argv[0], step, argc - 2, argv + 2, stdout);
}
