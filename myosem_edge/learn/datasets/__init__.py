"""learn/datasets"""
