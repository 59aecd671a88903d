// Whoever works on a project here: login, projects, the model. Screens take their work from it.

import { computed, signal } from "@preact/signals";
import { type Service, ServiceError } from "../../service/service";
import { type Assignment, type Person, type Project, type Role, Team } from "../../service/team";
import { Engine, findOffer } from "../engine";
import { announce, sayError } from "../messages";
import { Storage } from "../storage";

const PROJECT = "segany.project";
const RANK: Readonly<Record<Role, number>> = { annotator: 0, reviewer: 1, admin: 2 };

export type Presence = "looking" | "nobody" | "here";

export class Crew {
  readonly presence = signal<Presence>("looking");
  readonly person = signal<Person | null>(null);
  readonly projects = signal<readonly Project[]>([]);
  readonly chosen = signal<number | null>(null);
  readonly project = computed(
    () => this.projects.value.find((one) => one.id === this.chosen.value) ?? this.projects.value[0] ?? null,
  );
  readonly engine = signal<Engine | null>(null);
  readonly engineProblem = signal<string | null>(null);
  private starting: Promise<void> | null = null;

  private constructor(
    readonly team: Team,
    readonly service: Service,
    readonly storage: Storage,
  ) {
    const kept = Number(localStorage.getItem(PROJECT));
    if (kept > 0) this.chosen.value = kept;
  }

  static async start(service: Service): Promise<Crew> {
    const crew = new Crew(new Team(service.root), service, await Storage.open("segany-project"));
    const person = await crew.team.whoami();
    if (person === null) crew.presence.value = "nobody";
    else await crew.enter(person);
    return crew;
  }

  may(role: Role): boolean {
    const person = this.person.value;
    return person !== null && RANK[person.role] >= RANK[role];
  }

  async login(name: string, password: string): Promise<void> {
    await this.enter(await this.team.login(name, password));
  }

  private async enter(person: Person): Promise<void> {
    this.projects.value = await this.team.projects();
    this.person.value = person;
    this.presence.value = "here";
    announce(`Welcome, ${person.name}.`);
  }

  async logout(): Promise<void> {
    try {
      await this.team.logout();
    } catch (error) {
      if (!(error instanceof ServiceError && error.status === 401)) sayError(error);
    }
    this.leave();
  }

  /** Nobody is logged in any more; what was being made stays in the browser. */
  leave(): void {
    this.person.value = null;
    this.presence.value = "nobody";
    this.engine.value?.close();
    this.engine.value = null;
  }

  choose(project: number): void {
    this.chosen.value = project;
    localStorage.setItem(PROJECT, String(project));
  }

  /** The model of the project runs; another one, when the project has published another since. */
  async startEngine(wanted: Assignment["model"]): Promise<void> {
    while (this.starting !== null) await this.starting;
    const running = this.engine.value;
    if (running !== null && (wanted === null || running.info.model.fingerprint === wanted.fingerprint))
      return;
    this.starting = this.freshEngine(wanted?.name).finally(() => {
      this.starting = null;
    });
    await this.starting;
  }

  private async freshEngine(name: string | undefined): Promise<void> {
    const old = this.engine.value;
    try {
      const offer = await findOffer(this.service);
      const engine = await Engine.start(offer, { model: name ?? offer.standard, encode: "service" });
      this.engine.value = engine;
      this.engineProblem.value = null;
      old?.close();
    } catch (error) {
      this.engineProblem.value = error instanceof Error ? error.message : String(error);
      sayError(error);
    }
  }

  /** Tell of an error; one that says that nobody is logged in leads to the login. */
  say(error: unknown): void {
    if (error instanceof ServiceError && error.status === 401) {
      this.leave();
      announce("Please log in again. Your work is kept.");
    } else sayError(error);
  }
}
