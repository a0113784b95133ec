// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "net/base/counter.h"
#include "virtio/device.h"
#include "virtio/notification_coalescing.h"
#include "virtio/virtqueue.h"

namespace tapir::virtio {

/// What happened on one virtqueue of a network device since it was made, resets included. Counted by the I/O
/// thread.
struct NetQueueCounters {
  Counter frames;         ///< that the other side got
  Counter bytes;          ///< of those, without the vnet header
  Counter dropped;        ///< frames that the driver may not send or receive so, or that the backend refused
  Counter bad_length;     ///< of those: shorter than Ethernet's header, or longer than the MTU or any frame
  Counter bad_header;     ///< of those: their vnet header is wrong or needs a feature that was not accepted
  Counter filtered;       ///< received frames that the driver's filter keeps out
  Counter bad_chains;     ///< chains that broke a rule or are too small, given back with length 0
  Counter starved;        ///< how often frames had to wait for the driver's buffers
  Counter kicks;          ///< wake-ups by the driver
  Counter notifications;  ///< interrupts sent
};

/// A virtqueue of a network device with its way to the driver. I/O thread only.
struct NetQueue {
  Virtqueue ring;
  std::uint16_t index;
  Notifier& notifier;
  NetQueueCounters& counters;
  const SharedCoalescing* coalescing = nullptr;  ///< null: interrupts never wait
  NotificationDelay delay{packets()};

  /// Gives a chain back that cannot be used. The driver sees it at the next flush().
  void refuse(DescriptorChain chain) {
    counters.bad_chains.add(1);
    ring.add_used(std::move(chain), 0);
  }
  /// Shows the driver all used chains at once, and interrupts it if it wants to know, when the driver's
  /// coalescing allows it. The ring keeps in mind what it was not yet asked about, so nothing is lost by
  /// that.
  void flush() {
    ring.publish_used();
    if (coalescing == nullptr || delay.over(parameters(), packets())) {
      interrupt();
    }
  }
  /// The same without waiting for more: there will be no more before the driver acts.
  void flush_now() {
    ring.publish_used();
    static_cast<void>(delay.over({}, packets()));
    interrupt();
  }
  /// Interrupts for what has waited long enough.
  void flush_late() {
    if (delay.deadline()) {
      flush();
    }
  }

  /// What the driver asked for, but no more than fit into the ring: it would run dry.
  CoalescingParameters parameters() const {
    const CoalescingParameters asked = coalescing->get();
    return {std::min<std::uint32_t>(asked.max_packets, ring.size()), asked.max_usecs};
  }
  std::uint64_t packets() const {
    return counters.frames.get() + counters.dropped.get() + counters.bad_chains.get();
  }
  void interrupt() {
    if (ring.needs_notification()) {
      counters.notifications.add(1);
      notifier.notify_queue(index);
    }
  }
};

/// How a turn of a receiver or transmitter ended.
enum class TurnEnd : std::uint8_t {
  kIdle,     ///< nothing more to do until an event
  kMore,     ///< the budget is spent: another turn is due at once
  kBlocked,  ///< the other side of the device has to act first: room in the backend, or buffers of the driver
  kGone,     ///< the backend is gone for good
  kBroken,   ///< the driver broke the virtqueue
};

}  // namespace tapir::virtio
