// Which model, where it runs, how finely everything is looked for.

import { useState } from "preact/hooks";
import { chosenModel, density, encodePlace } from "../state/preferences";
import type { Workspace } from "../state/workspace";
import { Icon } from "./icons";

export function ModelMenu({ workspace }: { workspace: Workspace }) {
  const [isOpen, setOpen] = useState(false);
  const status = workspace.status.value;
  const engine = workspace.engine.value;
  const offer = workspace.offer.value;
  const open = workspace.open.value?.annotator;
  const isBusy = status.kind === "starting" || open?.isPreparing.value || open?.isAsking.value;
  const text =
    status.kind === "ready" && engine
      ? engine.info.name
      : status.kind === "starting"
        ? "Starting…"
        : "No model";
  const restart = () => {
    setOpen(false);
    void workspace.startEngine();
  };
  return (
    <div
      class="menu-holder"
      onFocusOut={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOpen(false);
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape" && isOpen) {
          event.stopPropagation();
          setOpen(false);
        }
      }}
    >
      <button
        type="button"
        class="model-chip"
        aria-haspopup="dialog"
        aria-expanded={isOpen}
        onClick={() => setOpen(!isOpen)}
        data-testid="model"
        data-status={status.kind}
      >
        <span class={`dot dot-${status.kind === "ready" ? (isBusy ? "busy" : "ready") : status.kind}`} />
        {text}
        <Icon name="chevron" size={14} />
      </button>
      {isOpen && (
        <div class="menu" role="dialog" aria-label="Model" tabIndex={-1}>
          {offer && offer.models.length > 1 && (
            <fieldset class="menu-section">
              <legend>Model</legend>
              {offer.models.map((name) => (
                <label key={name} class="menu-choice">
                  <input
                    type="radio"
                    name="model"
                    checked={name === engine?.info.name}
                    onChange={() => {
                      chosenModel.value = name;
                      restart();
                    }}
                  />
                  {name}
                </label>
              ))}
            </fieldset>
          )}
          {offer?.service && (
            <fieldset class="menu-section">
              <legend>Photos are encoded</legend>
              {(["service", "page"] as const).map((place) => (
                <label key={place} class="menu-choice">
                  <input
                    type="radio"
                    name="encode"
                    checked={encodePlace.value === place}
                    onChange={() => {
                      encodePlace.value = place;
                      restart();
                    }}
                  />
                  {place === "service" ? "by the service" : "in this page"}
                </label>
              ))}
            </fieldset>
          )}
          <fieldset class="menu-section">
            <legend>Find everything</legend>
            {([8, 16, 32] as const).map((side) => (
              <label key={side} class="menu-choice">
                <input
                  type="radio"
                  name="density"
                  checked={density.value === side}
                  onChange={() => {
                    density.value = side;
                  }}
                />
                {{ 8: "Large things", 16: "Usual", 32: "Small things too" }[side]}
                <small>
                  {side} × {side} clicks
                </small>
              </label>
            ))}
          </fieldset>
          <Facts workspace={workspace} />
        </div>
      )}
    </div>
  );
}

function Facts({ workspace }: { workspace: Workspace }) {
  const info = workspace.engine.value?.info;
  const status = workspace.status.value;
  if (status.kind === "failed") return <p class="menu-note menu-error">{status.message}</p>;
  if (!info) return null;
  const { backend, threads, encode, decode } = info;
  const runtime = backend === "webgpu" ? "WebGPU" : "WebAssembly";
  const place =
    decode === "page"
      ? `in this page (${runtime}, ${threads} ${threads === 1 ? "thread" : "threads"})`
      : "by the service";
  return (
    <p class="menu-note" data-testid="engine-facts">
      Masks are computed {place}.{" "}
      {encode === "page"
        ? "Photos never leave this browser."
        : "Photos are sent to the service this page came from, and nowhere else."}
    </p>
  );
}
