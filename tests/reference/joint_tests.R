# Joint tests of emmeans, whose F are compared, with the denominator degrees of freedom of lmerTest's tests of the same
# contrasts (emmeans has others where there are several numerator degrees of freedom), on unbalanced rows.
# Run in this folder: Rscript joint_tests.R > joint_tests.json
suppressMessages({library(lme4); library(lmerTest); library(emmeans); library(jsonlite)})
emm_options(lmer.df = "satterthwaite", lmerTest.limit = 1e5, msg.interaction = FALSE, msg.nesting = FALSE)

read <- function(name, factors) {
  frame <- read.csv(file.path("..", "data", paste0(name, ".csv")))
  frame$row <- seq_len(nrow(frame))
  for (f in factors) frame[[f]] <- factor(frame[[f]], levels = unique(frame[[f]]))
  frame
}
thinned <- function(frame) frame[frame$row %% 7 != 0 & frame$row %% 11 != 3, ]
polished <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10))
fit <- function(formula, data) eval(substitute(lmer(f, data, control = polished), list(f = as.formula(formula))))

as_table <- function(x) {
  s <- as.data.frame(x)
  keys <- setdiff(names(s), c("df1", "df2", "F.ratio", "p.value", "note"))
  s <- s[s[["model term"]] != "(confounded)", ]
  c(list(keys = lapply(s[keys], as.character)), list(num_df = s$df1, f_value = s$F.ratio))
}
# Of the simple effects of one factor: lmerTest's test of the rows of emmeans' own contrasts.
simple <- function(m, specs, by, ...) {
  x <- contrast(emmeans(m, specs, by = by, ...), "consec")
  g <- interaction(x@grid[by], drop = TRUE)
  sapply(levels(g), function(l) contestMD(m, x@linfct[g == l, , drop = FALSE])$DenDF)
}
crop <- list("Alfalfa", c("Date", "Variety", "Block"), "thinned", "Yield ~ Date * Variety + (1 | Block/Variety)")
empty <- list("Alfalfa", c("Date", "Variety", "Block"), "empty", "Yield ~ Date * Variety + (1 | Block)")
pigs <- list("dietox", c("Pig", "Cu", "Evit"), "thinned", "Weight ~ Time * Cu * Evit + (Time | Pig)")
lines <- list("dietox", c("Pig", "Cu", "Evit"), "complete", "Weight ~ Time * Feed + Cu + (Time | Pig)")
cases <- list(
  all = list(crop, list(), function(m) joint_tests(m)),
  by = list(crop, list(by = "Variety"), function(m) joint_tests(m, by = "Variety"), function(m) simple(m, "Date", "Variety")),
  by_dates = list(crop, list(by = "Date"), function(m) joint_tests(m, by = "Date"), function(m) simple(m, "Variety", "Date")),
  proportional = list(pigs, list(weights = "proportional"), function(m) joint_tests(m, weights = "proportional")),
  covariate = list(pigs, list(), function(m) joint_tests(m)),
  covariate_by = list(pigs, list(by = "Evit"), function(m) joint_tests(m, by = "Evit")),
  two_by = list(pigs, list(by = c("Evit", "Time"), at = list(Time = c(3, 9))),
                function(m) joint_tests(m, by = c("Evit", "Time"), at = list(Time = c(3, 9))),
                function(m) simple(m, "Cu", c("Evit", "Time"), at = list(Time = c(3, 9)))),
  covariates = list(lines, list(), function(m) joint_tests(m)),
  empty = list(empty, list(), function(m) joint_tests(m))
)
out <- lapply(cases, function(case) {
  model <- case[[1]]
  data <- read(model[[1]], model[[2]])
  data <- switch(model[[3]], thinned = thinned(data), complete = data[!is.na(data$Feed), ],
                 empty = { d <- thinned(data); d[!(d$Date == "S20" & d$Variety == "Cossack"), ] })
  m <- fit(model[[4]], data)
  c(list(data = model[[1]], factors = model[[2]], change = model[[3]], formula = model[[4]],
         args = if (length(case[[2]])) case[[2]] else setNames(list(), character(0))),
    as_table(case[[3]](m)), if (length(case) > 3) list(den_df = unname(case[[4]](m))))
})
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE, na = "null"), "\n")
