// All photos, along the bottom.

import { useEffect, useRef } from "preact/hooks";
import type { PhotoEntry, Workspace } from "../state/workspace";
import { Button } from "./Button";
import { Icon } from "./icons";

export function FilmStrip({ workspace, chooseFiles }: { workspace: Workspace; chooseFiles: () => void }) {
  const current = workspace.open.value?.annotator.photo.key;
  return (
    <nav class="strip" aria-label="Photos">
      <ul>
        {workspace.photos.value.map((entry) => (
          <Frame
            key={entry.photo.key}
            entry={entry}
            workspace={workspace}
            isCurrent={entry.photo.key === current}
          />
        ))}
      </ul>
      <Button icon="plus" label="Add photos" command="open" tip="above" onClick={chooseFiles} />
    </nav>
  );
}

interface FrameProps {
  readonly entry: PhotoEntry;
  readonly workspace: Workspace;
  readonly isCurrent: boolean;
}

function Frame({ entry, workspace, isCurrent }: FrameProps) {
  const item = useRef<HTMLLIElement>(null);
  const { photo, thumbnail, masks } = entry;
  useEffect(() => {
    if (isCurrent) item.current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [isCurrent]);
  const remove = () => {
    const isSure = masks === 0 || confirm(`Remove ${photo.name} and its ${masks} masks from this browser?`);
    if (isSure) void workspace.removePhoto(photo.key);
  };
  return (
    <li ref={item} class={`frame${isCurrent ? " frame-current" : ""}`}>
      <button
        type="button"
        class="frame-open"
        aria-current={isCurrent ? "true" : undefined}
        aria-label={`${photo.name}, ${masks} ${masks === 1 ? "mask" : "masks"}`}
        data-tip={photo.name}
        data-tip-side="above"
        onClick={() => void workspace.show(photo.key)}
      >
        {thumbnail ? <img src={thumbnail} alt="" /> : <Icon name="photo" />}
        {masks > 0 && <span class="frame-count">{masks}</span>}
      </button>
      <button type="button" class="frame-remove" aria-label={`Remove ${photo.name}`} onClick={remove}>
        <Icon name="close" size={12} />
      </button>
    </li>
  );
}
