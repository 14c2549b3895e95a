// llamacpp.mjs: the speed of llama.cpp (npm node-llama-cpp) on a GGUF file: batch 1, prefill and greedy generation.
//
//     node bench/llamacpp.mjs FOLDER F.gguf PROMPT_TOKENS NEW_TOKENS THREADS      FOLDER holds node_modules (tools/setup_llamacpp.sh)
//
// Prints {"prefill": tokens/s, "generate": tokens/s}: the best of three each. Ids are arbitrary, as speed does not depend on them; a
// token's sampling is the likeliest one's alone.
import { createRequire } from "module";
import path from "path";
import { pathToFileURL } from "url";

const [folder, file, prompt, fresh, threads] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(folder), "package.json"));
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, progressLogs: false, maxThreads: Number(threads) });
const model = await llama.loadModel({ modelPath: path.resolve(file), gpuLayers: 0 });
const context = await model.createContext({ contextSize: Number(prompt) + Number(fresh) + 16, batchSize: 512, threads: { ideal: Number(threads), min: Number(threads) }, sequences: 1 });
const sequence = context.getSequence();
const ids = Array.from({ length: Number(prompt) }, (_, i) => 100 + (i * 37) % 5000);
let prefill = 0, generate = 0;
for (let round = 0; round < 3; round++) {
    await sequence.clearHistory();
    let start = process.hrtime.bigint();
    await sequence.evaluateWithoutGeneratingNewTokens(ids);
    prefill = Math.max(prefill, ids.length / (Number(process.hrtime.bigint() - start) / 1e9));
    let made = 0, last = 0n;
    for await (const id of sequence.evaluate([100], { temperature: 0, yieldEogToken: true })) {
        if (made++ === 0) start = process.hrtime.bigint();   // the first is the prompt's
        last = process.hrtime.bigint();
        if (made > Number(fresh)) break;
    }
    generate = Math.max(generate, (made - 1) / (Number(last - start) / 1e9));
}
console.log(JSON.stringify({ prefill, generate }));
process.exit(0);
