// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "net/base/counter.h"

namespace tapir::net {

/// What a read or write of a frame failed for, as far as an operator would act differently.
enum class FrameErrorClass : std::uint8_t {
  kInvalid,   ///< EINVAL: a vnet header that the kernel refuses, or a frame shorter than Ethernet's header
  kTooLong,   ///< EMSGSIZE
  kLinkDown,  ///< EIO: the interface is not up
  kNoMemory,  ///< ENOMEM, ENOBUFS: of the host
  kFault,     ///< EFAULT
  kBusy,      ///< EAGAIN, EINTR for a frame that a later one of its batch has overtaken
  kPartial,   ///< a part of the frame was taken
  kGone,      ///< the backend no longer exists
  kOther,
};
inline constexpr auto kFrameErrorClasses = static_cast<std::size_t>(FrameErrorClass::kOther) + 1;

/// A counter for each class.
using FrameErrorCounters = std::array<Counter, kFrameErrorClasses>;

inline void count_error(FrameErrorCounters& counters, FrameErrorClass error_class) {
  counters[static_cast<std::size_t>(error_class)].add(1);
}

/// Counters of one engine since it was made. Counted by the I/O thread; any thread may read them.
struct FrameIoCounters {
  Counter received_frames;
  Counter received_bytes;          ///< with the vnet header, if there is one
  Counter receive_dropped;         ///< too short, too long, or lost by a failed read
  Counter receive_short;           ///< of those: shorter than Ethernet's header
  Counter receive_too_long;        ///< of those: longer than the sink can ever take, or than any frame
  Counter receive_unread;          ///< of those: lost by a failed read
  FrameErrorCounters read_errors;  ///< failed reads, most of which lose no frame
  Counter held_frames;             ///< that were read before the sink had space for them
  Counter sent_frames;
  Counter sent_bytes;
  Counter transmit_dropped;         ///< refused by the backend with an errno
  FrameErrorCounters write_errors;  ///< the same by class
  Counter transmit_full;            ///< how often the backend took no more for now
  Counter receive_batches;          ///< reads that the engine made at once, alone or many
  Counter transmit_batches;         ///< the same of writes
  Counter mode_switches;            ///< between reading into slots and reading in place
  Counter syscalls;
  Counter ring_calls;  ///< reads and writes that io_uring did; not among `syscalls`
  Counter waits;
};

}  // namespace tapir::net
