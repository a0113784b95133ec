// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// What tapir-bench and the guest that it measures say to each other, in frames of their own Ethernet type on
/// the NIC that is measured. A frame is an Ethernet header and one of these structures, as it is in memory.
/// The guest answers every command with one report, when it is done; the first report comes unasked when its
/// driver is ready.
///
/// Frames of another type are numbered ones (see tools/bench/frames.h), which the guest counts or sends back.
namespace tapir::bench::guest {

inline constexpr std::uint16_t kEtherType = 0x88B6;  // IEEE 802: the second one for experiments
inline constexpr std::size_t kEthernetBytes = 14;
inline constexpr std::size_t kHeaderBytes = 66;  ///< of a numbered frame: vnet header to TCP header
inline constexpr std::size_t kMaxFrameBytes = 0x10000;

enum class Kind : std::uint32_t {
  kReady,   ///< of the first report
  kReport,  ///< does nothing else
  kSend,    ///< sends numbered frames
};

struct Command {
  Kind kind;
  std::uint32_t frame_bytes;  ///< vnet header included
  std::uint64_t first;        ///< number of the first frame
  std::uint64_t frames;
  std::uint8_t headers[kHeaderBytes];  ///< of each frame; what follows them is zero
};

/// All counts are from the guest's start on.
struct Report {
  Kind kind;  ///< of the command that this answers
  std::uint32_t unused;
  std::uint64_t received;    ///< numbered frames
  std::uint64_t disordered;  ///< of them, those that came late or twice
  std::uint64_t damaged;     ///< of them, those whose number is not at both ends
  std::uint64_t kicks;
  std::uint64_t interrupts;
};

}  // namespace tapir::bench::guest
