// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "net/base/result.h"
#include "virtio/device.h"
#include "virtio/io_thread.h"
#include "virtio/net_configuration.h"
#include "virtio/net_queue_pair.h"
#include "virtio/receive_rules.h"

namespace tapir::virtio {

/// All queue pairs of a network device between DRIVER_OK and reset, each on the I/O thread of its own host
/// end (virtio 1.3, 5.1.2 Virtqueues: pair N is the virtqueues 2 N and 2 N + 1, and the control virtqueue
/// comes behind the last pair). Without VIRTIO_NET_F_MQ there is one pair, whatever the device has. All of
/// them send. The first one receives; others do once the driver commands it (5.1.6.5.6 Automatic receive
/// steering in multiqueue mode), and which of them gets a frame is the tap's choice.
///
/// Threads: the transport's, one at a time; the command comes on the first pair's I/O thread, which hands it
/// on to those of the others and waits for them. Nothing is shared between the threads for a frame.
class NetPairs {
 public:
  /// What outlives the object.
  struct Environment {
    Notifier& notifier;
    NetConfiguration& configuration;
    PublishedRules& rules;
    NetCoalescing& coalescing;
    std::span<IoThread* const> io_threads;       ///< one for each pair of the device, at least
    std::span<NetQueuePair::Counters> counters;  ///< of each pair of the device
  };

  NetPairs(const Environment& environment, std::uint64_t features);
  NetPairs(const NetPairs&) = delete;
  NetPairs& operator=(const NetPairs&) = delete;
  /// When it returns no virtqueue is touched any more, and only the first host end is attached.
  ~NetPairs();

  /// Once. `queues` are those that the driver enabled; what belongs to no pair is left alone. Error: of a
  /// host end; then only destruction may follow.
  [[nodiscard]] Status start(std::vector<ActiveQueue> queues);
  /// Forgets a virtqueue, with the chains that it holds, on the I/O thread of its pair; the others go on.
  void reset_queue(std::uint16_t index);
  /// Serves one again that was reset. Error: its kicks cannot be watched.
  [[nodiscard]] Status enable_queue(ActiveQueue queue);

 private:
  /// The number of the pair that serves a virtqueue, if one does.
  std::optional<std::size_t> pair_of(std::uint16_t index) const;
  void place(ActiveQueue queue);
  /// NetControl::UsePairs, on the first pair's I/O thread.
  bool use(std::uint16_t pairs);
  void use_fewer(std::size_t pairs);

  const Environment environment_;
  const bool has_control_queue_;
  std::vector<std::unique_ptr<NetQueuePair>> pairs_;
  std::size_t in_use_ = 1;  ///< of the first pair's I/O thread, while it runs
};

}  // namespace tapir::virtio
