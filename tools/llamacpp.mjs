// llamacpp.mjs: what llama.cpp makes of a GGUF file, by the npm package node-llama-cpp (tools/setup_llamacpp.sh installs it).
//
//     node tools/llamacpp.mjs FOLDER F.gguf COUNT TEXT...      FOLDER holds node_modules
//
// Prints one JSON object a text: {"ids", "greedy", "logprobs"}: the text's tokens, COUNT greedy ones behind them, and log-probabilities of
// ids[1..] given those before (of the tokens that a text is, not of those that are added).
import { createRequire } from "module";
import path from "path";
import { pathToFileURL } from "url";

const [folder, file, count, ...texts] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(folder), "package.json"));
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, progressLogs: false });
const model = await llama.loadModel({ modelPath: path.resolve(file), gpuLayers: 0 });
const context = await model.createContext({ contextSize: 256, batchSize: 256, threads: 2, sequences: 1 });
const sequence = context.getSequence();
for (const text of texts) {
    const ids = text.startsWith("ids:") ? text.slice(4).split(",").map(Number) : model.tokenize(text, false);
    if (model.tokens.shouldPrependBosToken && !text.startsWith("ids:")) ids.unshift(model.tokens.bos);
    await sequence.clearHistory();
    const asked = ids.map((id, i) => [id, { generateNext: { probabilities: true } }]);
    const out = await sequence.controlledEvaluate(asked.slice(0, -1));
    const logprobs = out.map((o, i) => Math.log(o.next.probabilities.get(ids[i + 1]) ?? 0));
    await sequence.clearHistory();
    const greedy = [];
    for await (const id of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
        greedy.push(id);
        if (greedy.length >= Number(count)) break;
    }
    console.log(JSON.stringify({ ids, greedy, logprobs }));
}
process.exit(0);
