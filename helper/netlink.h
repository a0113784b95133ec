// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "net/base/result.h"

struct mnl_socket;

namespace tapir::helper {

/// One request to rtnetlink(7) under construction: a header, then attributes, which may nest. Values are in
/// the host's byte order. All that the helper asks fits into its fixed size; what does not is a bug of ours.
///
///     NetlinkRequest request = NetlinkRequest::for_link(RTM_SETLINK, 7);
///     request.put(IFLA_MTU, std::uint32_t{9000});
///     TAPIR_TRY(netlink.change(request));
class NetlinkRequest {
 public:
  /// `type` RTM_…, `flags` NLM_F_… beside NLM_F_REQUEST, which is always set.
  NetlinkRequest(std::uint16_t type, std::uint16_t flags, const ifinfomsg& header)
      : NetlinkRequest(type, flags, std::as_bytes(std::span(&header, 1))) {}
  NetlinkRequest(std::uint16_t type, std::uint16_t flags, const ndmsg& header)
      : NetlinkRequest(type, flags, std::as_bytes(std::span(&header, 1))) {}
  /// About the interface `index`, or with 0 the one that the attributes name.
  static NetlinkRequest for_link(std::uint16_t type, int index, std::uint8_t family = AF_UNSPEC) {
    ifinfomsg header{};
    header.ifi_family = family;
    header.ifi_index = index;
    return NetlinkRequest(type, 0, header);
  }

  /// A number, a structure of the kernel's, or an array of octets.
  template <typename T>
  void put(std::uint16_t type, const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
    put_bytes(type, std::as_bytes(std::span(&value, 1)));
  }
  /// With the final zero that the kernel expects.
  void put_text(std::uint16_t type, std::string_view text);
  /// The attributes that `fill` puts become the content of attribute `type`.
  template <typename Fill>
  void nest(std::uint16_t type, Fill fill) {
    const std::size_t start = start_nest(type);
    fill();
    end_nest(start);
  }

 private:
  friend class Netlink;
  NetlinkRequest(std::uint16_t type, std::uint16_t flags, std::span<const std::byte> header);
  void put_bytes(std::uint16_t type, std::span<const std::byte> value);
  std::size_t start_nest(std::uint16_t type);
  void end_nest(std::size_t start);
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(buffer_.data()); }

  alignas(nlmsghdr) std::array<std::byte, 1024> buffer_{};
};

/// Attributes of an answer, or of one attribute of it. A view: the answer must outlive it. An attribute that
/// is not there, or is shorter than asked for, is nothing; unknown ones are passed over.
class NetlinkAttributes {
 public:
  explicit NetlinkAttributes(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
  std::optional<T> get(std::uint16_t type) const {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto payload = find(type);
    if (!payload || payload->size() < sizeof(T)) {
      return std::nullopt;
    }
    T value;
    std::memcpy(&value, payload->data(), sizeof value);
    return value;
  }
  /// Without the final zero; empty if it is not there.
  std::string_view text(std::uint16_t type) const;
  /// Without attributes if it is not there.
  NetlinkAttributes nested(std::uint16_t type) const {
    return NetlinkAttributes(find(type).value_or(Bytes{}));
  }
  bool has(std::uint16_t type) const { return find(type).has_value(); }

 private:
  using Bytes = std::span<const std::byte>;
  std::optional<Bytes> find(std::uint16_t type) const;

  Bytes bytes_;
};

/// One interface as RTM_GETLINK describes it.
class NetlinkLink {
 public:
  /// `message` is the answer without its nlmsghdr, at least as long as an ifinfomsg.
  explicit NetlinkLink(std::vector<std::byte> message) : message_(std::move(message)) {
    std::memcpy(&header_, message_.data(), sizeof header_);
  }
  const ifinfomsg& header() const { return header_; }
  NetlinkAttributes attributes() const {
    return NetlinkAttributes(std::span(message_).subspan(NLMSG_ALIGN(sizeof(ifinfomsg))));
  }

 private:
  std::vector<std::byte> message_;
  ifinfomsg header_{};
};

/// A socket to rtnetlink(7) of this network namespace. Every call is one request and waits for its answer;
/// the kernel answers before send(2) returns. Only the kernel can: a message from another process to a
/// NETLINK_ROUTE socket takes CAP_NET_ADMIN (net/netlink/af_netlink.c, netlink_sendmsg). Errors are the
/// kernel's, with its errno as code(), and say nothing of what was asked: the caller's sentence does. One
/// thread.
class Netlink {
 public:
  [[nodiscard]] static Result<Netlink> open();

  /// Sends a request that changes something.
  [[nodiscard]] Status change(NetlinkRequest& request);
  /// Sends an RTM_GETLINK for one interface.
  [[nodiscard]] Result<NetlinkLink> get_link(NetlinkRequest& request);

 private:
  struct Close {
    void operator()(mnl_socket* socket) const;
  };
  explicit Netlink(std::unique_ptr<mnl_socket, Close> socket) : socket_(std::move(socket)) {}
  // The content of the answer; empty for an acknowledgement.
  [[nodiscard]] Result<std::vector<std::byte>> exchange(NetlinkRequest& request);

  std::unique_ptr<mnl_socket, Close> socket_;
  std::uint32_t sequence_ = 0;
};

}  // namespace tapir::helper
