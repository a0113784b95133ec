// SPDX-License-Identifier: Apache-2.0
#include "vmm/json_statistics.h"

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>

namespace tapir::vmm {
namespace {

using Json = nlohmann::ordered_json;

/// By net::FrameErrorClass.
constexpr std::array<const char*, net::kFrameErrorClasses> kErrorNames{
    "invalid", "too_long", "link_down", "no_memory", "fault", "busy", "partial", "gone", "other"};

Json errors(const net::FrameErrorCounters& counters) {
  Json object = Json::object();
  for (std::size_t i = 0; i < kErrorNames.size(); ++i) {
    object[kErrorNames[i]] = counters[i].get();
  }
  return object;
}

/// What is counted alike in each direction.
Json direction(const virtio::NetQueueCounters& queue, Json dropped, const net::FrameErrorCounters& failed) {
  return {{"frames", queue.frames.get()},           {"bytes", queue.bytes.get()},
          {"dropped", std::move(dropped)},          {"errors", errors(failed)},
          {"bad_chains", queue.bad_chains.get()},   {"kicks", queue.kicks.get()},
          {"interrupts", queue.notifications.get()}};
}

Json receive(const virtio::NetQueueCounters& queue, const net::FrameIoCounters& host) {
  Json object = direction(queue,
                          {{"length", queue.bad_length.get()},
                           {"header", queue.bad_header.get()},
                           {"filter", queue.filtered.get()},
                           {"too_short", host.receive_short.get()},
                           {"too_long", host.receive_too_long.get()},
                           {"unread", host.receive_unread.get()}},
                          host.read_errors);
  object["no_buffers"] = queue.starved.get();
  object["held"] = host.held_frames.get();
  object["batches"] = host.receive_batches.get();
  object["mode_switches"] = host.mode_switches.get();
  return object;
}

Json transmit(const virtio::NetQueueCounters& queue, const net::FrameIoCounters& host) {
  Json object = direction(queue,
                          {{"length", queue.bad_length.get()},
                           {"header", queue.bad_header.get()},
                           {"refused", host.transmit_dropped.get()}},
                          host.write_errors);
  object["full"] = host.transmit_full.get();
  object["batches"] = host.transmit_batches.get();
  return object;
}

Json pair(std::size_t number, const NicStatistics::Pair& of) {
  return {{"pair", number},
          {"receive", receive(of.device->receive, *of.host)},
          {"transmit", transmit(of.device->transmit, *of.host)},
          {"system_calls", of.host->syscalls.get()},
          {"ring_calls", of.host->ring_calls.get()},
          {"waits", of.host->waits.get()}};
}

Json control(const virtio::NetQueueCounters& queue) {
  return {{"commands", queue.frames.get()},
          {"refused", queue.dropped.get()},
          {"bad_chains", queue.bad_chains.get()},
          {"kicks", queue.kicks.get()},
          {"interrupts", queue.notifications.get()}};
}

Json nic_object(const NicStatistics& nic) {
  Json pairs = Json::array();
  for (std::size_t i = 0; i < nic.pairs.size(); ++i) {
    pairs.push_back(pair(i, nic.pairs[i]));
  }
  Json object{{"nic", nic.name},
              {"peer", nic.peer},
              {"interface", nic.interface},
              {"mac", nic.mac.to_string()},
              {"link", nic.link_up ? "up" : "down"},
              {"queues", std::move(pairs)}};
  if (!nic.pairs.empty()) {
    object["control"] = control(nic.pairs.front().device->control);
  }
  return object;
}

}  // namespace

Json nic_list(std::span<const NicStatistics> nics) {
  Json list = Json::array();
  for (const NicStatistics& nic : nics) {
    list.push_back(nic_object(nic));
  }
  return list;
}

std::string json_statistics(std::span<const NicStatistics> nics) {
  // Names may be any bytes that an operator gave.
  return Json{{"nics", nic_list(nics)}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace tapir::vmm
