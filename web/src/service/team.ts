// The service's side of a project: who somebody is, what there is to do, and what becomes of it.

import type { AnnotationDocument } from "../core/document";
import { sha256Hex } from "../core/sha256";
import type { components } from "./schema";
import { checked, csrfNow, ServiceError, setCsrf } from "./service";

type Schemas = components["schemas"];

export type Person = Schemas["PersonInfo"];
export type Role = Person["role"];
export type PersonEntry = Schemas["AccountInfo"];
export type Project = Schemas["ProjectInfo"];
export type Stage = Project["stages"][number];
export type TaskImage = Schemas["PhotoInfo"];
export type QueuedImage = Schemas["QueuePhoto"];
export type Region = Omit<Schemas["RegionInfo"], "outline"> & { readonly outline: Outline };
export type RegionKind = Region["kind"];
export type Outline = readonly (readonly [number, number])[];
export type Effort = Schemas["EffortInfo"];
export type Stats = Schemas["StatsAnswer"];
export type ProjectModel = Schemas["ModelVersionInfo"];
export type Verdict = Schemas["ReviewBody"]["verdict"];
export type Assignment = Omit<Schemas["AssignmentInfo"], "document"> & {
  readonly document: AnnotationDocument | null;
};

export interface ToClear {
  readonly image: TaskImage;
  readonly regions: readonly Region[];
}

type Session = Schemas["SessionInfo"];

type Method = "GET" | "POST" | "PATCH" | "DELETE";

/** Everything that needs a login. */
export class Team {
  constructor(private readonly root: URL) {}

  private async send(method: Method, path: string, body?: unknown): Promise<Response> {
    const headers: Record<string, string> = { Accept: "application/json" };
    const csrf = csrfNow();
    if (csrf !== null && method !== "GET") headers["X-Segany-CSRF"] = csrf;
    const isForm = body instanceof FormData;
    if (body !== undefined && !isForm) headers["Content-Type"] = "application/json";
    try {
      return await fetch(new URL(`api/v1/${path}`, this.root), {
        method,
        headers,
        ...(body !== undefined && { body: isForm ? body : JSON.stringify(body) }),
      });
    } catch {
      throw new ServiceError("The service cannot be reached. Your work is kept here; try again.", 0);
    }
  }

  private async ask<T>(method: Method, path: string, body?: unknown): Promise<T> {
    const response = await this.send(method, path, body);
    if (response.status === 204) return null as T;
    const value: unknown = await response.json().catch(() => undefined);
    return checked<T>(response.ok ? { data: value as T, response } : { error: value, response });
  }

  // Who ---------------------------------------------------------------------------------------------------------------

  /** Whoever is logged in; null for nobody. */
  async whoami(): Promise<Person | null> {
    try {
      return this.enter(await this.ask<Session>("GET", "session"));
    } catch (error) {
      if (error instanceof ServiceError && error.status === 401) return null;
      throw error;
    }
  }

  async login(name: string, password: string): Promise<Person> {
    return this.enter(await this.ask<Session>("POST", "session", { name, password }));
  }

  private enter(session: Session): Person {
    setCsrf(session.csrf);
    return session.person;
  }

  async logout(): Promise<void> {
    await this.ask("DELETE", "session");
    setCsrf(null);
  }

  // Work --------------------------------------------------------------------------------------------------------------

  projects(): Promise<Project[]> {
    return this.ask("GET", "projects");
  }

  /** What comes next, without taking it. */
  queue(project: number, count: number): Promise<{ next: QueuedImage[]; remaining: number }> {
    return this.ask("GET", `projects/${project}/queue?count=${count}`);
  }

  /** The next task, or the one that is held already; null when there is nothing to do. */
  claim(project: number): Promise<Assignment | null> {
    return this.ask("POST", `projects/${project}/claim`, {});
  }

  claimReview(project: number): Promise<Assignment | null> {
    return this.ask("POST", `projects/${project}/reviews/claim`, {});
  }

  async photo(image: number): Promise<Blob> {
    const response = await this.send("GET", `engine/images/${image}/photo`);
    if (!response.ok) return checked<Blob>({ error: await response.json().catch(() => undefined), response });
    return response.blob();
  }

  photoUrl(image: number): string {
    return new URL(`api/v1/engine/images/${image}/photo`, this.root).href;
  }

  heartbeat({ task, lease }: Assignment): Promise<{ expires: string }> {
    return this.ask("POST", `tasks/${task}/heartbeat`, { lease });
  }

  async release({ task, lease }: Assignment): Promise<void> {
    await this.ask("POST", `tasks/${task}/release`, { lease });
  }

  async submit({ task, lease }: Assignment, document: AnnotationDocument): Promise<void> {
    const key = await keyOf(lease, "submit", document);
    await this.ask("POST", `tasks/${task}/submit`, { lease, key, document });
  }

  async skip({ task, lease }: Assignment, reason: string, active_seconds: number): Promise<void> {
    const key = await keyOf(lease, "skip", reason);
    await this.ask("POST", `tasks/${task}/skip`, { lease, key, reason, active_seconds });
  }

  async review({ task, lease }: Assignment, verdict: Verdict, given: Judgement): Promise<void> {
    const key = await keyOf(lease, verdict, given.document ?? given.reason ?? "");
    await this.ask("POST", `tasks/${task}/review`, { lease, key, verdict, ...given });
  }

  // Clearing ----------------------------------------------------------------------------------------------------------

  clearing(project: number, limit: number): Promise<{ next: ToClear[]; remaining: number }> {
    return this.ask("GET", `projects/${project}/clearing?limit=${limit}`);
  }

  addRegion(image: number, kind: RegionKind, outline: Outline): Promise<Region> {
    return this.ask("POST", `engine/images/${image}/regions`, { kind, outline });
  }

  async removeRegion(region: number): Promise<void> {
    await this.ask("DELETE", `engine/regions/${region}`);
  }

  async clear(image: number, verdict: "cleared" | "withheld", reason: string): Promise<void> {
    await this.ask("POST", `engine/images/${image}/clear`, { verdict, ...(reason !== "" && { reason }) });
  }

  // The whole project -------------------------------------------------------------------------------------------------

  stats(project: number): Promise<Stats> {
    return this.ask("GET", `projects/${project}/stats`);
  }

  models(project: number): Promise<ProjectModel[]> {
    return this.ask("GET", `projects/${project}/models`);
  }

  async publish(project: number, model: number): Promise<void> {
    await this.ask("POST", `projects/${project}/models/${model}/publish`, {});
  }

  async rollback(project: number): Promise<void> {
    await this.ask("POST", `projects/${project}/models/rollback`, {});
  }

  people(project: number): Promise<PersonEntry[]> {
    return this.ask("GET", `projects/${project}/people`);
  }

  async addPerson(project: number, name: string, password: string, role: Role): Promise<void> {
    await this.ask("POST", `projects/${project}/people`, { name, password, role });
  }

  async changePerson(
    person: number,
    change: { role?: Role; active?: boolean; password?: string },
  ): Promise<void> {
    await this.ask("PATCH", `people/${person}`, change);
  }

  async addPhoto(project: number, file: File): Promise<void> {
    const form = new FormData();
    form.append("file", file, file.name);
    await this.ask("POST", `projects/${project}/images?stage=manual`, form);
  }
}

export interface Judgement {
  readonly reason?: string;
  readonly document?: AnnotationDocument;
  readonly active_seconds: number;
}

/** The same write under the same lease has the same key, so that sending it again changes nothing. */
async function keyOf(lease: string, kind: string, what: unknown): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify([lease, kind, what]));
  return (await sha256Hex(bytes)).slice(0, 40);
}
