// SPDX-License-Identifier: Apache-2.0
// What the single steps of a virtqueue cost: per chain unless the name says otherwise, with everything in the
// cache. `tools/dev bench functions` runs it.
#include <benchmark/benchmark.h>
#include <linux/virtio_config.h>

#include <array>
#include <vector>

#include "virtio/split_queue.h"
#include "virtio/testing/driver_queue.h"

namespace tapir::virtio {
namespace {

using testing::ChainBuilder;
using testing::DriverQueue;

constexpr std::uint16_t kSize = 256;
constexpr std::uint64_t kFeatures = std::uint64_t{1} << VIRTIO_F_VERSION_1 |
                                    std::uint64_t{1} << VIRTIO_RING_F_INDIRECT_DESC |
                                    std::uint64_t{1} << VIRTIO_RING_F_EVENT_IDX;
constexpr std::uint64_t kTables = 0x10000;
constexpr std::uint64_t kBuffers = 0x100000;
constexpr std::uint64_t kMemoryBytes = 0x2000000;

/// A virtqueue whose every entry is a chain of `pieces` pieces; more than one are in an indirect table.
class Queue {
 public:
  explicit Queue(std::size_t pieces)
      : driver_(memory_, DriverQueue::place(0, kSize), true),
        queue_(*SplitQueue::create(memory_, driver_.layout(), kFeatures)) {
    for (std::uint16_t head = 0; head < kSize; ++head) {
      write_chain(head, pieces);
    }
  }

  /// Makes all chains available that the device has given back.
  void refill() {
    while (driver_.take_used()) {
      --available_;
    }
    for (; available_ < kSize; ++available_) {
      driver_.add_raw_head(static_cast<std::uint16_t>(next_++ % kSize));
    }
    benchmark::DoNotOptimize(driver_.publish());
  }
  DriverQueue& driver() { return driver_; }
  SplitQueue& device() { return queue_; }
  std::span<iovec> storage() { return storage_; }

 private:
  void write_chain(std::uint16_t head, std::size_t pieces) {
    const std::uint64_t buffer = kBuffers + head * std::uint64_t{0x10000} / 8;
    if (pieces == 1) {
      driver_.write_descriptor(head, {buffer, 118, 0, 0});
      return;
    }
    std::vector<ChainBuilder::Element> elements;
    for (std::size_t i = 0; i < pieces; ++i) {
      elements.push_back({buffer + i * 256, 128, 0});
    }
    const std::uint64_t table = kTables + head * std::uint64_t{512};
    testing::write_indirect_table(memory_, table, elements);
    driver_.write_descriptor(
        head, {table, static_cast<std::uint32_t>(pieces * sizeof(vring_desc)), VRING_DESC_F_INDIRECT, 0});
  }

  GuestMemory memory_ = *GuestMemory::create(kMemoryBytes);
  DriverQueue driver_;
  SplitQueue queue_;
  std::vector<iovec> storage_ = std::vector<iovec>(kMaxChainPieces);
  unsigned available_ = 0;
  std::uint64_t next_ = 0;
};

void count_chains(benchmark::State& state, std::int64_t chains) {
  state.SetItemsProcessed(chains);
  state.counters["per_chain"] = benchmark::Counter(static_cast<double>(chains),
                                                   benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

/// pop() and the walk of one chain of state.range(0) pieces; undone again, so that nothing else is measured.
void pop_and_walk(benchmark::State& state) {
  Queue queue(static_cast<std::size_t>(state.range(0)));
  queue.refill();
  while (state.KeepRunning()) {
    auto chain = queue.device().pop(queue.storage());
    benchmark::DoNotOptimize(chain->readable_bytes());
    queue.device().undo_pop(*std::move(chain));
  }
  count_chains(state, state.iterations());
}
BENCHMARK(pop_and_walk)->Arg(1)->Arg(2)->Arg(17);

/// A whole ring: every chain popped, used, and published as one batch, with one test of the event.
void whole_ring(benchmark::State& state) {
  Queue queue(1);
  while (state.KeepRunning()) {
    state.PauseTiming();
    queue.refill();
    state.ResumeTiming();
    while (auto chain = queue.device().pop(queue.storage())) {
      queue.device().add_used(*std::move(chain), 0);
    }
    queue.device().publish_used();
    benchmark::DoNotOptimize(queue.device().needs_notification());
  }
  count_chains(state, state.iterations() * kSize);
}
BENCHMARK(whole_ring);

/// Times `each` for every chain of a full ring, all of them popped before.
template <typename Each>
void for_popped_chains(benchmark::State& state, Queue& queue, Each each) {
  std::vector<DescriptorChain> chains;
  chains.reserve(kSize);
  while (state.KeepRunning()) {
    state.PauseTiming();
    queue.refill();
    while (auto chain = queue.device().pop(queue.storage())) {
      chains.push_back(*std::move(chain));
    }
    state.ResumeTiming();
    for (DescriptorChain& chain : chains) {
      each(std::move(chain));
    }
    state.PauseTiming();
    chains.clear();
    queue.device().publish_used();
    state.ResumeTiming();
  }
  count_chains(state, state.iterations() * kSize);
}

void add_used(benchmark::State& state) {
  Queue queue(1);
  for_popped_chains(state, queue,
                    [&](DescriptorChain chain) { queue.device().add_used(std::move(chain), 0); });
}
BENCHMARK(add_used);

/// The same with the chain published and the driver's event looked at each time, which a batch does once.
void add_used_and_need_event(benchmark::State& state) {
  Queue queue(1);
  queue.driver().disable_interrupts();
  for_popped_chains(state, queue, [&](DescriptorChain chain) {
    queue.device().add_used(std::move(chain), 0);
    queue.device().publish_used();
    benchmark::DoNotOptimize(queue.device().needs_notification());
  });
}
BENCHMARK(add_used_and_need_event);

/// Asking for kicks and not asking: what a device does each time that it finds its queue empty.
void enable_and_disable_kicks(benchmark::State& state) {
  Queue queue(1);
  while (state.KeepRunning()) {
    benchmark::DoNotOptimize(queue.device().enable_kicks());
    queue.device().disable_kicks();
  }
}
BENCHMARK(enable_and_disable_kicks);

}  // namespace
}  // namespace tapir::virtio

BENCHMARK_MAIN();
