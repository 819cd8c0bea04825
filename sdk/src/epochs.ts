/** Under which epoch each revision was read. One revision under two epochs is a fork. */

const REMEMBERED = 32;

export class Epochs {
  private spans: { first: number; epoch: number }[];

  constructor(revision: number, epoch: number) {
    this.spans = [{ first: revision, epoch }];
  }

  get latest(): number {
    return (this.spans.at(-1) as { epoch: number }).epoch;
  }

  /** Undefined for a revision from before the snapshot. */
  of(revision: number): number | undefined {
    return this.spans.findLast(({ first }) => first <= revision)?.epoch;
  }

  /** Nothing is known of the revisions that a composed change jumped over. */
  restart(revision: number, epoch: number): void {
    this.spans = [{ first: revision, epoch }];
  }

  enter(revision: number, epoch: number): void {
    if (epoch === this.latest) return;
    this.spans.push({ first: revision, epoch });
    if (this.spans.length > REMEMBERED) this.spans.shift();
  }

  contradict(revision: number, epoch: number): boolean {
    return (this.of(revision) ?? epoch) !== epoch;
  }
}
