// The accepted masks: select, name, recolour, hide, work on again, delete.

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { type Annotation, isFoundByModel, nameOf } from "../core/document";
import { colourOf, isHidden } from "../core/work";
import type { Annotator } from "../state/annotator";
import { Button } from "./Button";
import { renaming, toggleAll } from "./commands";
import { percent } from "./Dock";
import { Icon } from "./icons";

interface Props {
  readonly annotator: Annotator;
  /** What stands above the list. */
  readonly above?: ComponentChildren;
}

export function MaskList({ annotator, above }: Props) {
  const { annotations } = annotator.work.value.document;
  const allHidden = annotations.length > 0 && annotations.every(isHidden);
  return (
    <aside class="panel" aria-label="Masks">
      {above}
      <div class="panel-head">
        <h2>
          Masks <span class="count">{annotations.length}</span>
        </h2>
        {annotations.length > 0 && (
          <Button
            icon={allHidden ? "eyeOff" : "eye"}
            label={allHidden ? "Show all masks" : "Hide all masks"}
            command="hideAll"
            tip="left"
            isPressed={allHidden}
            onClick={() => toggleAll(annotator)}
          />
        )}
      </div>
      {annotations.length === 0 ? (
        <p class="panel-empty">Accepted masks are listed here. They are kept in this browser as you work.</p>
      ) : (
        <ul class="mask-list" data-testid="masks">
          {annotations.map((one) => (
            <Row key={one.id} annotator={annotator} one={one} />
          ))}
        </ul>
      )}
    </aside>
  );
}

function Row({ annotator, one }: { annotator: Annotator; one: Annotation }) {
  const row = useRef<HTMLLIElement>(null);
  const isSelected = annotator.selected.value === one.id;
  const isOff = isHidden(one);
  const name = nameOf(one);
  useEffect(() => {
    if (isSelected) row.current?.scrollIntoView({ block: "nearest" });
  }, [isSelected]);
  return (
    <li
      ref={row}
      class={`mask${isSelected ? " mask-selected" : ""}${isOff ? " mask-hidden" : ""}`}
      data-testid={`mask-${one.id}`}
    >
      <label
        class="swatch"
        style={{ background: colourOf(one) }}
        data-tip="Colour&#8194;L"
        data-tip-side="left"
      >
        <span class="sr-only">Colour of {name}</span>
        <input
          type="color"
          value={colourOf(one)}
          onChange={(event) => annotator.recolour(one.id, event.currentTarget.value)}
        />
      </label>
      {renaming.value === one.id ? (
        <NameField annotator={annotator} one={one} />
      ) : (
        <button
          type="button"
          class="mask-name"
          aria-pressed={isSelected}
          onClick={() => {
            annotator.selected.value = isSelected ? null : one.id;
          }}
          onDblClick={() => {
            annotator.selected.value = one.id;
            renaming.value = one.id;
          }}
        >
          <span class="mask-title">{name}</span>
          <span class="mask-facts">
            {isFoundByModel(one) ? <span class="badge badge-model">found by the model</span> : factsOf(one)}
          </span>
        </button>
      )}
      <span class="mask-tools">
        <Button
          icon="edit"
          label={`Work on ${name} again`}
          tip="left"
          kind="quiet"
          onClick={() => annotator.edit(one.id)}
        />
        <Button
          icon="trash"
          label={`Delete ${name}`}
          tip="left"
          kind="quiet"
          onClick={() => annotator.remove(one.id)}
        />
      </span>
      <Button
        icon={isOff ? "eyeOff" : "eye"}
        label={isOff ? `Show ${name}` : `Hide ${name}`}
        tip="left"
        kind="quiet"
        isPressed={isOff}
        onClick={() => annotator.setHidden([one.id], !isOff)}
      />
    </li>
  );
}

function factsOf(one: Annotation): string {
  const { source, area } = one;
  const how =
    source === "manual" ? "by hand" : source === "imported" ? "imported" : percent(one.predicted_iou);
  return `${area.toLocaleString("en")} px · ${how}`;
}

function NameField({ annotator, one }: { annotator: Annotator; one: Annotation }) {
  const field = useRef<HTMLInputElement>(null);
  // At once, not after the next picture: the first letters typed belong to the name.
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);
  const labels = new Set(annotator.work.value.document.annotations.flatMap((other) => other.label ?? []));
  const finish = (isKept: boolean) => {
    if (renaming.value !== one.id) return;
    renaming.value = null;
    if (isKept && field.current) annotator.rename(one.id, field.current.value);
  };
  return (
    <>
      <input
        ref={field}
        class="name-field"
        aria-label={`Name of ${nameOf(one)}`}
        list="labels"
        defaultValue={one.label ?? ""}
        placeholder={nameOf(one)}
        maxLength={200}
        onBlur={() => finish(true)}
        onKeyDown={(event) => {
          if (event.key === "Enter") finish(true);
          if (event.key === "Escape") finish(false);
          event.stopPropagation();
        }}
      />
      <datalist id="labels">
        {[...labels].map((label) => (
          <option key={label} value={label} />
        ))}
      </datalist>
    </>
  );
}

/** A closed drawer's handle, for narrow screens. */
export function PanelHandle({ count, onClick }: { count: number; onClick: () => void }) {
  return (
    <button type="button" class="panel-handle" onClick={onClick} aria-label={`Masks, ${count}`}>
      <Icon name="photo" size={16} /> {count}
    </button>
  );
}
