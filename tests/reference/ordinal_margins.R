# Marginal chances of ordered categories, means of their positions and contrasts, by emmeans on ordinal::clmm:
#
# Rscript tests/reference/ordinal_margins.R > tests/reference/ordinal_margins.json
#
# clmm (2022.11-16) calls the complementary log-log link "loglog" and the other way about. Its standard errors are by
# differences of a criterion that is smooth enough for four digits with 10 nodes.

suppressMessages({ library(ordinal); library(emmeans); library(jsonlite) })
wine <- read.csv("tests/data/wine.csv")
for (name in c("rating", "temp", "contact", "judge")) wine[[name]] <- factor(wine[[name]])
wine$late <- as.numeric(wine$bottle) / 8 # a number beside

case <- function(id, formula, specs, link, weights = "equal") {
  m <- clmm(as.formula(formula), wine, link = link, nAGQ = 10L, control = clmm.control(gradTol = 1e-8, maxIter = 500))
  names <- paste(specs, collapse = " * ")
  chances <- emmeans(m, as.formula(paste("~ rating *", names)), mode = "prob", weights = weights)
  means <- emmeans(m, as.formula(paste("~", names)), mode = "mean.class", weights = weights)
  pairs <- as.data.frame(pairs(chances, by = "rating", adjust = "none"))
  chances <- as.data.frame(chances)
  means_pairs <- as.data.frame(pairs(means, adjust = "tukey"))
  means <- as.data.frame(means)
  list(id = id, formula = formula, specs = I(specs), link = link, weights = weights, deviance = -2 * as.numeric(m$logLik),
       max_gradient = max(abs(m$gradient)),
       levels = lapply(specs, function(name) as.character(chances[[name]])), mean_levels = lapply(specs, function(name) as.character(means[[name]])),
       categories = as.character(chances$rating), chance = chances$prob, chance_se = chances$SE,
       pair_categories = as.character(pairs$rating), difference = pairs$estimate, difference_se = pairs$SE,
       mean_class = means$mean.class, mean_class_se = means$SE,
       class_difference = means_pairs$estimate, class_p = means_pairs$p.value)
}
out <- list(
  case("temp", "rating ~ temp + contact + (1 | judge)", "temp", "logit"),
  case("probit", "rating ~ temp * contact + (1 | judge)", c("temp", "contact"), "probit"),
  case("number", "rating ~ temp + late + (1 | judge)", "temp", "logit")
)
cat(toJSON(out, digits = 15, auto_unbox = TRUE, pretty = TRUE), "\n")
