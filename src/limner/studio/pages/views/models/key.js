// The key for Civitai: whether there is one, and a way to keep one. It is never shown.

import { get, put, remove } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { tell } from "../../lib/toast.js";

export function keyPart() {
  const summary = element("summary", {}, "Key for Civitai");
  const body = element("div");
  const field = element("input", { type: "password", id: "civitai-key", autocomplete: "off", spellcheck: "false", required: true });
  const form = element(
    "form",
    { class: "bar", onsubmit: keep },
    element("label", { for: "civitai-key" }, "Key"),
    field,
    element("button", {}, "Keep it"),
  );
  const forget = element("button", { type: "button", onclick: async () => show(await remove("/api/search/key")) }, "Forget the key");

  async function keep(event) {
    event.preventDefault();
    const key = field.value;
    field.value = "";
    show(await put("/api/search/key", { key }));
    tell("the key is in this machine's keyring");
  }

  function show(state) {
    replace(summary, `Key for Civitai: ${state.has_key ? "there is one" : "none"}`);
    replace(
      body,
      state.problem ? element("p", { class: "problem small" }, state.problem) : null,
      element("p", { class: "help" }, "Some models are only given out to who has an account: make a key in your account's settings there. It is sent to Civitai alone, and never shown or logged."),
      state.from_environment ? element("p", { class: "help" }, "It comes from the environment in which the studio was started.") : null,
      !state.from_environment && state.can_keep ? [form, state.has_key ? forget : null] : null,
      !state.from_environment && !state.can_keep ? element("p", { class: "help" }, 'Set $CIVITAI_API_KEY before you start the studio, or pip install "limner[keyring]" to keep it here.') : null,
    );
  }

  get("/api/search/key").then(show, () => {});
  return element("details", { class: "key-part" }, summary, body);
}
