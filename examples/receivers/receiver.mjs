// A receiver of Relumine's webhooks in Node, with the official library of Standard Webhooks.
//
//   npm ci && WEBHOOK_SECRET=whsec_… node receiver.mjs
//
// Responds with 2xx only to requests signed with the secret.
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const port = Number(process.env.PORT ?? 8000);
const maxBodyBytes = 1_000_000;

createServer(async (request, response) => {
  const respond = (status, text = "") => response.writeHead(status).end(text);
  try {
    const chunks = [];
    let bytes = 0;
    for await (const chunk of request) {
      bytes += chunk.length;
      if (bytes > maxBodyBytes) return respond(413);
      chunks.push(chunk);
    }
    const body = Buffer.concat(chunks).toString("utf8"); // unchanged: these bytes were signed
    const notification = webhook.verify(body, request.headers);
    console.log(notification.type, JSON.stringify(notification.data));
    respond(204);
  } catch (problem) {
    respond(401, problem.message);
  }
}).listen(port, "127.0.0.1");
