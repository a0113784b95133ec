// SPDX-License-Identifier: Apache-2.0
// What the single steps of a virtqueue cost, split and packed: per chain unless the name says otherwise, with
// everything in the cache. `tools/dev bench functions` runs it.
#include <benchmark/benchmark.h>
#include <linux/virtio_config.h>

#include <array>
#include <memory>
#include <vector>

#include "virtio/testing/driver_queue.h"
#include "virtio/testing/packed_driver_queue.h"
#include "virtio/virtqueue.h"

namespace tapir::virtio {
namespace {

using testing::ChainBuilder;
using testing::DriverEnd;
using testing::DriverQueue;
using testing::PackedDriverQueue;

constexpr std::uint16_t kSize = 256;
constexpr std::uint64_t kFeatures = std::uint64_t{1} << VIRTIO_F_VERSION_1 |
                                    std::uint64_t{1} << VIRTIO_RING_F_INDIRECT_DESC |
                                    std::uint64_t{1} << VIRTIO_RING_F_EVENT_IDX;
constexpr std::uint64_t kTables = 0x10000;
constexpr std::uint64_t kBuffers = 0x100000;
constexpr std::uint64_t kMemoryBytes = 0x2000000;

struct Split {
  using Driver = DriverQueue;
  static constexpr std::uint64_t kFormat = 0;
};
struct Packed {
  using Driver = PackedDriverQueue;
  static constexpr std::uint64_t kFormat = std::uint64_t{1} << VIRTIO_F_RING_PACKED;
};

/// A virtqueue whose every entry is a chain of `pieces` pieces; more than one are in an indirect table.
template <typename Format>
class Queue {
 public:
  explicit Queue(std::size_t pieces)
      : driver_(memory_, Format::Driver::place(0, kSize), true),
        queue_(*Virtqueue::create(memory_, driver_.layout(), kFeatures | Format::kFormat)),
        pieces_(pieces) {}

  /// Makes all chains available that the device has given back.
  void refill() {
    while (driver_.take_used()) {
      --available_;
    }
    for (; available_ < kSize; ++available_) {
      add(next_++ % kSize);
    }
    benchmark::DoNotOptimize(driver_.publish());
  }
  DriverEnd& driver() { return driver_; }
  Virtqueue& device() { return queue_; }
  std::span<iovec> storage() { return storage_; }

 private:
  void add(std::uint64_t slot) {
    const std::uint64_t buffer = kBuffers + slot * 0x2000;
    ChainBuilder chain;
    for (std::size_t i = 0; i < pieces_; ++i) {
      chain.readable(buffer + i * 256, 128);
    }
    if (pieces_ == 1) {
      driver_.add(chain);
    } else {
      driver_.add_indirect(chain, kTables + slot * 512);
    }
  }

  GuestMemory memory_ = *GuestMemory::create(kMemoryBytes);
  typename Format::Driver driver_;
  Virtqueue queue_;
  std::vector<iovec> storage_ = std::vector<iovec>(kMaxChainPieces);
  std::size_t pieces_;
  unsigned available_ = 0;
  std::uint64_t next_ = 0;
};

void count_chains(benchmark::State& state, std::int64_t chains) {
  state.SetItemsProcessed(chains);
  state.counters["per_chain"] = benchmark::Counter(static_cast<double>(chains),
                                                   benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

/// pop() and the walk of one chain of state.range(0) pieces; undone again, so that nothing else is measured.
template <typename Format>
void pop_and_walk(benchmark::State& state) {
  Queue<Format> queue(static_cast<std::size_t>(state.range(0)));
  queue.refill();
  while (state.KeepRunning()) {
    auto chain = queue.device().pop(queue.storage());
    benchmark::DoNotOptimize(chain->readable_bytes());
    queue.device().undo_pop(*std::move(chain));
  }
  count_chains(state, state.iterations());
}
BENCHMARK_TEMPLATE(pop_and_walk, Split)->Arg(1)->Arg(2)->Arg(17);
BENCHMARK_TEMPLATE(pop_and_walk, Packed)->Arg(1)->Arg(2)->Arg(17);

/// A whole ring: every chain popped, used, and published as one batch, with one test of the event.
template <typename Format>
void whole_ring(benchmark::State& state) {
  Queue<Format> queue(1);
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
BENCHMARK_TEMPLATE(whole_ring, Split);
BENCHMARK_TEMPLATE(whole_ring, Packed);

/// Times `each` for every chain of a full ring, all of them popped before.
template <typename Format, typename Each>
void for_popped_chains(benchmark::State& state, Queue<Format>& queue, Each each) {
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

template <typename Format>
void add_used(benchmark::State& state) {
  Queue<Format> queue(1);
  for_popped_chains(state, queue,
                    [&](DescriptorChain&& chain) { queue.device().add_used(std::move(chain), 0); });
}
BENCHMARK_TEMPLATE(add_used, Split);
BENCHMARK_TEMPLATE(add_used, Packed);

/// The same with the chain published and the driver's event looked at each time, which a batch does once.
template <typename Format>
void add_used_and_need_event(benchmark::State& state) {
  Queue<Format> queue(1);
  queue.driver().disable_interrupts();
  for_popped_chains(state, queue, [&](DescriptorChain&& chain) {
    queue.device().add_used(std::move(chain), 0);
    queue.device().publish_used();
    benchmark::DoNotOptimize(queue.device().needs_notification());
  });
}
BENCHMARK_TEMPLATE(add_used_and_need_event, Split);
BENCHMARK_TEMPLATE(add_used_and_need_event, Packed);

/// Asking for kicks and not asking: what a device does each time that it finds its queue empty.
template <typename Format>
void enable_and_disable_kicks(benchmark::State& state) {
  Queue<Format> queue(1);
  while (state.KeepRunning()) {
    benchmark::DoNotOptimize(queue.device().enable_kicks());
    queue.device().disable_kicks();
  }
}
BENCHMARK_TEMPLATE(enable_and_disable_kicks, Split);
BENCHMARK_TEMPLATE(enable_and_disable_kicks, Packed);

}  // namespace
}  // namespace tapir::virtio

BENCHMARK_MAIN();
