// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/tap.h"
#include "tools/bench/sequence_checker.h"

namespace tapir::bench {

/// A packet(7) socket on the interface of a tap, with vnet headers: what the host's network stack is to the
/// tap. One thread.
class PacketEnd {
 public:
  enum class Use : std::uint8_t {
    kSend,  ///< hears nothing, and so costs the tap's writer nothing
    kBoth,
  };

  [[nodiscard]] static Result<PacketEnd> open(const std::string& interface, Use use);

  /// Sends the frame in `pieces`, the 12-byte vnet header at the start of the first one, towards the reader
  /// of the tap.
  [[nodiscard]] Status send(std::span<const iovec> pieces) const;
  /// Looks at all IPv4 frames, which numbered ones are, that came from the writer of the tap, without
  /// sleeping; whether there was anything.
  bool receive(SequenceChecker& checker);
  /// Sleeps until something comes, at most this long; whether something did.
  bool wait(int milliseconds) const;
  /// Frames that did not fit into the socket's buffer since the last call.
  std::uint64_t take_dropped() const;

 private:
  explicit PacketEnd(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

/// What the interface of a tap has counted.
struct TapCounts {
  std::uint64_t written = 0;       ///< frames that the tap took from its writer
  std::uint64_t read_dropped = 0;  ///< frames for its reader that did not fit into its ring
};
[[nodiscard]] Result<TapCounts> tap_counts(const std::string& interface);

/// Lets a packet socket not hear what leaves by its interface.
[[nodiscard]] Status ignore_outgoing(int socket);

/// A tap made for one measurement in the private network namespace, and what its interface counted. It goes
/// away with its descriptor.
class TapEnd {
 public:
  [[nodiscard]] static Result<TapEnd> create();

  const std::string& name() const { return name_; }
  int fd() const { return tap_->fd(); }
  /// Frames may come to the reader with these TUN_F_* things undone.
  [[nodiscard]] Status set_offloads(unsigned tun_offloads) const;
  [[nodiscard]] Result<TapCounts> counts() const { return tap_counts(name_); }
  /// For an engine; once, and fd() is not valid any more.
  net::FramePort take_port() { return std::move(*tap_).into_port(); }

 private:
  explicit TapEnd(net::Tap tap) : name_(tap.name()), tap_(std::make_unique<net::Tap>(std::move(tap))) {}

  std::string name_;
  std::unique_ptr<net::Tap> tap_;
};

/// Enters the private network namespace in which every tap of this program is made. Once, before there is a
/// second thread. Error: one sentence that says what would allow it.
[[nodiscard]] Status enter_private_network();

}  // namespace tapir::bench
