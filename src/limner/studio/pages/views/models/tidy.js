// A model's file called otherwise, or put into the trash folder.

import { post } from "../../lib/api.js";
import { element } from "../../lib/dom.js";
import { tell } from "../../lib/toast.js";

/** changed(): called after the file has another name or place. */
export function tidy(model, changed) {
  const stem = element("input", { id: "model-stem", value: model.stem, required: true, maxlength: 150 });
  const rename = async (event) => {
    event.preventDefault();
    const { name } = await post("/api/models/rename", { name: model.name, stem: stem.value });
    tell(`it is called ${name} now`);
    changed();
  };
  const remove = element("button", { type: "button" }, "Move to the trash");
  let isSure = false;
  remove.addEventListener("click", async () => {
    if (!isSure) {
      isSure = true;
      remove.textContent = "Move it: yes, I am sure";
      return;
    }
    const { trash } = await post("/api/models/remove", { name: model.name });
    tell(`moved to ${trash} in the models folder`);
    changed();
  });
  return element(
    "form",
    { class: "bar tidy", onsubmit: rename },
    element("label", { for: "model-stem" }, "File name"),
    stem,
    element("button", {}, "Rename"),
    remove,
  );
}
