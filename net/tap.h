// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/frame_io.h"
#include "net/frame_port.h"
#include "net/mac_address.h"
#include "net/tun_device.h"

namespace tapir::net {

/// What the operator said about a tap.
struct TapOptions {
  /// Whether frames carry the 12-byte vnet header, without which there are no offloads. Unset: when the
  /// kernel has it; of an adopted descriptor, as it was made.
  std::optional<bool> vnet_header = std::nullopt;
  /// For TUNSETSNDBUF: how many bytes that nobody has read yet block the sender. 0: as many as there can be;
  /// unset: as the tap has it, which for one just made is the same.
  std::optional<std::uint64_t> send_buffer = std::nullopt;
  /// The character device that opens it: the tun driver's, or the node of a macvtap, then no name is needed.
  std::string device = kTunDevice;
  /// Whether there will be more queues than one, by open_queue().
  bool multi_queue = false;
};

/// One queue of a tap interface: its descriptor, set up for an engine. Frames without packet information
/// (IFF_NO_PI), a vnet header of 12 bytes if any, O_NONBLOCK (without it io_uring would use worker threads
/// and reorder frames), all offloads off until a driver asks for them, TUNSETSNDBUF only on request (the
/// default never blocks a sender).
///
/// Any thread, one at a time. Opened before the sandbox closes; then its descriptor goes to an engine:
///
///     TAPIR_TRY_ASSIGN(Tap tap, Tap::open("tap0", {}));
///     auto io = make_frame_io(std::move(tap).into_port(), EngineChoice::kAuto);
///
/// Source: Documentation/networking/tuntap.rst, drivers/net/tun.c.
class Tap {
 public:
  /// Attaches to the tap `name` if it exists: a persistent one of this user, single- or multi-queue, or a
  /// macvtap. Else creates it, which takes CAP_NET_ADMIN; that one vanishes with the last descriptor. An
  /// empty name: of a macvtap's device whatever it is called, else the kernel picks one. The interface may
  /// still be down: make_ready() has to follow. Errors: everything an operator can get wrong, each with its
  /// remedy.
  [[nodiscard]] static Result<Tap> attach(const std::string& name, const TapOptions& options);

  /// Of an attached one, when whatever else sets it up has been there: brings the interface up if attach()
  /// created it, and learns its MTU. Error: another's is down. Warning: a macvtap's card has no link.
  [[nodiscard]] Status make_ready();

  /// attach() and make_ready().
  [[nodiscard]] static Result<Tap> open(const std::string& name, const TapOptions& options);

  /// Another queue of a tap that was attached with multi_queue, set up like the first.
  [[nodiscard]] Result<UniqueFd> open_queue() const;

  /// Takes over a descriptor of a tap that came from somebody with more privilege. On success it is owned,
  /// close-on-exec and non-blocking; on failure it stays the caller's. Its interface may be down (a warning
  /// is printed) or in another network namespace (its MTU is then unknown).
  [[nodiscard]] static Result<Tap> adopt(int fd, const TapOptions& options);

  /// The same of a descriptor that the operator named by its number and this process must have inherited. All
  /// that it opened itself are close-on-exec, which an inherited one cannot be: to the operator they do not
  /// exist.
  [[nodiscard]] static Result<Tap> adopt_inherited(int fd, const TapOptions& options);

  const std::string& name() const { return name_; }
  const FrameIoFeatures& features() const { return features_; }
  int fd() const { return fd_.get(); }
  /// Whether attach() created the interface.
  bool created() const { return created_; }
  /// Of a macvtap: the only address for which it gives frames to its reader.
  const std::optional<MacAddress>& required_mac() const { return required_mac_; }

  /// Detaches another queue of a multi-queue tap, on the borrowed descriptor `fd`: from then on the kernel
  /// puts no frame into it, which would be lost where nobody reads. What waits in it is dropped. The
  /// descriptor stays a queue of the tap, and TUNSETQUEUE can attach it again. Error: it is none, or detached
  /// already.
  [[nodiscard]] static Status detach_queue(int fd);
  /// The opposite. Error: it is none, or attached already.
  [[nodiscard]] static Status attach_queue(int fd);

  /// Hands the descriptor to an engine.
  FramePort into_port() &&;

 private:
  Tap(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  [[nodiscard]] static Result<Tap> attach_macvtap(UniqueFd fd, const std::string& name, int flags);
  [[nodiscard]] static Result<Tap> attach_tun(UniqueFd fd, const std::string& name, int flags);
  [[nodiscard]] Status set_up(bool vnet_header, std::optional<std::uint64_t> send_buffer);
  bool is_up() const;

  UniqueFd fd_;
  std::string name_;
  FrameIoFeatures features_;
  std::optional<MacAddress> required_mac_;
  bool created_ = false;
  std::string device_;                        ///< of an attached one
  int flags_ = 0;                             ///< IFF_TAP and so on, of an attached one
  std::optional<std::uint64_t> send_buffer_;  ///< TapOptions::send_buffer of an attached one
};

}  // namespace tapir::net
