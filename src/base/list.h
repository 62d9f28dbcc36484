/* base/list.h: intrusive doubly linked list; a node is on at most one list. */
#pragma once

#include "base/check.h"

struct list {
    struct list *next, *prev; /* a head or a node; a node off any list points to itself */
};

static inline void
list_init(struct list *node)
{
    node->next = node->prev = node;
}

static inline bool
list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void
list_push_back(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void
list_push_front(struct list *head, struct list *node)
{
    list_push_back(head->next, node);
}

static inline void
list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Takes the first node off a list that has one. */
static inline struct list *
list_pop_front(struct list *head)
{
    struct list *first = head->next;
    check(first != head);
    head->next = first->next;
    head->next->prev = head;
    list_init(first);
    return first;
}

#define list_entry(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))
