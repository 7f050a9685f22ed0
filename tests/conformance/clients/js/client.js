// Send the rows of a job file through grpc-js: `node client.js PROTOS JOB.json`, with NODE_PATH where it is installed.
// The job says what to send and where the answers go; see clients.py in tests/support.

"use strict";

const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const IN_FLIGHT = 32;
const [protos, jobFile] = process.argv.slice(2);
const job = JSON.parse(fs.readFileSync(jobFile, "utf8"));
const definition = loader.loadSync("inference/grpc_service.proto", {
  includeDirs: [protos], keepCase: true, longs: String, defaults: true,
});
const Service = grpc.loadPackageDefinition(definition).inference.GRPCInferenceService;
const client = new Service(job.address, grpc.credentials.createInsecure(), {
  "grpc.max_receive_message_length": -1,
});

const columns = job.inputs.map((input) => {
  const data = fs.readFileSync(input.file);
  const text = input.datatype === "BYTES";
  return { ...input, data: text ? JSON.parse(data).map((value) => Buffer.from(value)) : data };
});

function request(start, rows) {
  const message = { model_name: job.model, inputs: [], raw_input_contents: [] };
  for (const { name, datatype, data } of columns) {
    const tensor = { name, datatype, shape: [rows, datatype === "BYTES" ? 1 : data.length / job.rows / 4] };
    const width = tensor.shape[1];
    if (datatype === "BYTES") {
      const values = data.slice(start, start + rows);
      if (job.form === "typed") {
        tensor.contents = { bytes_contents: values };
      } else {
        const parts = values.flatMap((value) => {
          const size = Buffer.alloc(4);
          size.writeUInt32LE(value.length);
          return [size, value];
        });
        message.raw_input_contents.push(Buffer.concat(parts));
      }
    } else {
      const bytes = data.subarray(start * width * 4, (start + rows) * width * 4);
      if (job.form === "typed") {
        const values = [];
        for (let at = 0; at < bytes.length; at += 4) values.push(bytes.readFloatLE(at));
        tensor.contents = { fp32_contents: values };
      } else {
        message.raw_input_contents.push(bytes);
      }
    }
    message.inputs.push(tensor);
  }
  return message;
}

function outputs(response) {
  const kept = {};
  response.outputs.forEach((tensor, index) => {
    if (job.form === "raw") {
      kept[tensor.name] = response.raw_output_contents[index];
      return;
    }
    if (response.raw_output_contents.length) throw new Error("a typed request got a raw answer");
    const values = tensor.datatype === "FP32" ? tensor.contents.fp32_contents : tensor.contents.int64_contents;
    const bytes = Buffer.alloc(values.length * (tensor.datatype === "FP32" ? 4 : 8));
    values.forEach((value, at) => {
      if (tensor.datatype === "FP32") bytes.writeFloatLE(value, at * 4);
      else bytes.writeBigInt64LE(BigInt(value), at * 8);
    });
    kept[tensor.name] = bytes;
  });
  return kept;
}

const infer = (message) =>
  new Promise((resolve, reject) =>
    client.ModelInfer(message, (error, response) => (error ? reject(error) : resolve(response))));

async function main() {
  const answers = [];
  let next = 0;
  const worker = async () => {
    while (next < job.rows) {
      const start = next;
      next += job.batch;
      const rows = Math.min(job.batch, job.rows - start);
      answers.push([start, outputs(await infer(request(start, rows)))]);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  answers.sort(([a], [b]) => a - b);
  for (const name of Object.keys(answers[0][1])) {
    fs.writeFileSync(path.join(job.result, `${name}.bin`), Buffer.concat(answers.map(([, kept]) => kept[name])));
  }
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
