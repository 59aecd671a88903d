// Before there is a photo: where to drop one, and samples to try.

import { SAMPLES, type Workspace } from "../state/workspace";
import { Button } from "./Button";
import { Icon } from "./icons";

export function Welcome({ workspace, chooseFiles }: { workspace: Workspace; chooseFiles: () => void }) {
  const isLocal = workspace.engine.value === null || workspace.engine.value.info.encode === "page";
  return (
    <main class="welcome">
      <div class="welcome-drop">
        <span class="welcome-icon">
          <Icon name="photo" size={34} />
        </span>
        <h1>Point at something. Get its mask.</h1>
        <p>Drop photos here, paste one, or choose files.</p>
        <Button
          icon="open"
          label="Choose photos"
          kind="primary"
          command="open"
          onClick={chooseFiles}
          testId="choose"
        >
          Choose photos
        </Button>
      </div>
      <div class="samples">
        <h2>Or try one of these</h2>
        <ul>
          {SAMPLES.map((sample) => (
            <li key={sample.file}>
              <button
                type="button"
                class="sample"
                onClick={() => void workspace.openSample(sample.file)}
                data-testid={`sample-${sample.file}`}
              >
                <img src={`samples/${sample.file}`} alt="" loading="lazy" />
                <span>{sample.name}</span>
                <small>{sample.credit}</small>
              </button>
            </li>
          ))}
        </ul>
      </div>
      <p class="welcome-note">
        <Icon name="lock" size={14} />
        {isLocal
          ? "Photos stay in this browser: the model runs in the page itself."
          : "Photos go to the service this page came from, and nowhere else. Your work is kept in this browser."}
      </p>
    </main>
  );
}
