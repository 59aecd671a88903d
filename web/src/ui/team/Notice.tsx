// What has to be known before working on this image: that it was sent back and why, what the model has found already.

import { isFoundByModel } from "../../core/document";
import type { Desk, OpenTask } from "../../state/team/desk";
import { Icon } from "../icons";

export function Notice({ desk, task }: { desk: Desk; task: OpenTask }) {
  const { verdict, purpose } = task.assignment;
  const found = task.annotator.work.value.document.annotations.filter(isFoundByModel).length;
  return (
    <>
      {verdict && (
        <div class="notice notice-back" role="note" data-testid="sent-back">
          <Icon name="undo" />
          <p>
            <b>{desk.mode === "annotate" ? "A reviewer sent this back." : "It was sent back before."}</b>{" "}
            {verdict.reason}
          </p>
        </div>
      )}
      {purpose === "audit" && (
        <div class="notice" role="note">
          <Icon name="brush" />
          <p>
            <b>Audit.</b> Make every mask as good as you can by hand.
          </p>
        </div>
      )}
      {found > 0 && (
        <div class="notice" role="note" data-testid="found-by-model">
          <Icon name="chip" />
          <p>
            <b>
              {found} dashed {found === 1 ? "mask was" : "masks were"} found by the model.
            </b>{" "}
            Remove those that are wrong, then add what is missing.
          </p>
        </div>
      )}
    </>
  );
}
