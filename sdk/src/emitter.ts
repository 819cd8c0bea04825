/** Typed events. A listener's fault is its own: it neither stops the others nor the sender. */

export class Emitter<Events extends Record<keyof Events, unknown[]>> {
  private readonly listeners: { [Name in keyof Events]?: Set<(...values: Events[Name]) => void> } = {};

  /** Returns what ends the subscription. */
  on<Name extends keyof Events>(name: Name, listener: (...values: Events[Name]) => void): () => void {
    const listeners = (this.listeners[name] ??= new Set());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  protected emit<Name extends keyof Events>(name: Name, ...values: Events[Name]): void {
    for (const listener of [...(this.listeners[name] ?? [])]) {
      try {
        listener(...values);
      } catch (error) {
        reportError(error);
      }
    }
  }
}

function reportError(error: unknown): void {
  setTimeout(() => {
    throw error;
  });
}
