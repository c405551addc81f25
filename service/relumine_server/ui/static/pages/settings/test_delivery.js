// A test of a webhook: sends one, and shows the receiver's answer beside the button.

import { get, path, post } from "../../core/api.js";
import { el, replace } from "../../core/elements.js";
import { count } from "../../core/format.js";
import { badge } from "../../core/states.js";
import { messageOf } from "./actions.js";
import { due } from "./times.js";

const POLL_MS = 400;
const LONGEST_WAIT_MS = 20_000; // an attempt takes 15 s at most

// Returns the button, and the element in which the answer appears.
export function testButton(webhook, signal, { onSent = () => {} } = {}) {
  const button = el("button", { type: "button", id: "test", click: perform }, "Send a test");
  const answer = el("div", { class: "outcome", role: "status" });
  async function perform() {
    button.disabled = true;
    replace(answer, "A signed webhook.test is being sent.");
    try {
      const { delivery_id: deliveryId } = await post(path("webhooks", webhook.webhook_id, "test"), {});
      replace(answer, answerOf(await firstAttempt(deliveryId, signal)));
    } catch (error) {
      if (!signal.aborted) replace(answer, el("span", { class: "problem" }, messageOf(error)));
    }
    button.disabled = false;
    onSent();
  }
  return { button, answer };
}

// Returns the delivery when it was attempted or given up, or as it is after the longest wait.
async function firstAttempt(deliveryId, signal) {
  const end = Date.now() + LONGEST_WAIT_MS;
  for (;;) {
    const delivery = await get(path("deliveries", deliveryId), { signal });
    if (delivery.attempts.length || delivery.state !== "pending" || Date.now() > end) return delivery;
    await new Promise((resolve) => {
      setTimeout(resolve, POLL_MS);
    });
  }
}

function answerOf(delivery) {
  const attempt = delivery.attempts.at(-1);
  if (!attempt) return "The test waits behind earlier deliveries; the log shows its result.";
  const sentence = attempt.error
    ? `The receiver did not answer: ${attempt.error}.`
    : `The receiver answered ${attempt.response_status} after ${count(attempt.duration_ms)} ms.`;
  const next = delivery.next_attempt_at ? [" The next attempt is ", due(delivery.next_attempt_at), "."] : "";
  const body = attempt.response_body
    ? el("pre", { tabindex: "0", "aria-label": "The receiver's answer" }, attempt.response_body)
    : null;
  return [el("p", {}, badge(delivery.state === "delivered" ? "delivered" : "failed"), " ", sentence, next), body];
}
