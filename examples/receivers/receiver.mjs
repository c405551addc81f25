// A receiver of Relumine's webhooks in Node, with the official library of Standard Webhooks.
//
//   npm ci && WEBHOOK_SECRET=whsec_… node receiver.mjs
//
// Answers 2xx only to what was signed with the secret.
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const port = Number(process.env.PORT ?? 8000);
const maxBodyBytes = 1_000_000;

createServer(async (request, response) => {
  const answer = (status, text = "") => response.writeHead(status).end(text);
  try {
    const pieces = [];
    let bytes = 0;
    for await (const piece of request) {
      bytes += piece.length;
      if (bytes > maxBodyBytes) return answer(413);
      pieces.push(piece);
    }
    const body = Buffer.concat(pieces).toString("utf8"); // exactly as it came: the signature is of these bytes
    const notification = webhook.verify(body, request.headers);
    console.log(notification.type, JSON.stringify(notification.data));
    answer(204);
  } catch (problem) {
    answer(401, problem.message);
  }
}).listen(port, "127.0.0.1");
