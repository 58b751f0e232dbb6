// Image generation, with previews while it runs where the model can.
import { events, post } from "./api.js";
import { byId, element, onSubmit, values } from "./dom.js";
import { show } from "./snippet.js";

const PATH = "/v1/images/generations";

export function setUpImages(panel) {
  const form = panel.querySelector(".settings");
  const output = panel.querySelector(".output");
  onSubmit(panel.querySelector(".compose"), async () => {
    const { partial_images: previews, ...given } = values(form);
    const prompt = byId("picture-prompt").value;
    const body = { model: form.querySelector("[data-models]").value, prompt, ...given };
    if (previews) Object.assign(body, { stream: true, partial_images: previews });
    else body.response_format = "b64_json";
    show(panel, PATH, body);
    output.replaceChildren();
    const response = await post(PATH, body);
    if (!previews) {
      const answer = await response.json();
      output.append(...answer.data.map((one) => figure(one.b64_json, prompt)));
      return;
    }
    const picture = figure("", prompt);
    for await (const event of events(response)) {
      picture.querySelector("img").src = `data:image/png;base64,${event.b64_json}`;
      output.append(picture);
    }
  });
}

function figure(data, alt) {
  const src = data ? `data:image/png;base64,${data}` : "";
  return element("figure", {}, element("img", { src, alt }));
}
