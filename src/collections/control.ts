import { type CollectionsControl, MAPS_MAX, SHARD_WORDS, SHARDS } from './layout.ts'
import { REGISTRY_WORDS } from './registry.ts'

/**
 * Zeroed shared memory for a machine's collections: no map. About 4 MiB of addresses, of which
 * what is not used is never touched.
 *
 * @param seed What hashes begin with: a random number, the same for all threads.
 */
export function makeCollectionsControl(seed: number): CollectionsControl {
  const words = (nrWords: number) => new Int32Array(new SharedArrayBuffer(nrWords * 4))
  return {
    shards: words(MAPS_MAX * SHARDS * SHARD_WORDS),
    nrShards: SHARDS,
    registry: words(REGISTRY_WORDS),
    seed,
  }
}
